//! scratch
fn main() -> anyhow::Result<()> {
    let pid: u32 = std::env::args().nth(1).unwrap().parse()?;
    let t = std::time::Instant::now();
    let choice = if std::env::args().nth(3).as_deref() == Some("raw") {
        syscost::probe::HookChoice::Raw
    } else {
        syscost::probe::HookChoice::Btf
    };
    let mut p = syscost::probe::Probe::attach(pid, choice, false)?;
    eprintln!("attach {:?}", t.elapsed());
    let secs: f64 = std::env::args().nth(2).unwrap().parse()?;
    std::thread::sleep(std::time::Duration::from_secs_f64(secs));
    let t = std::time::Instant::now();
    p.detach();
    eprintln!("detach {:?}", t.elapsed());
    let (_, kinds, ledger) = p.snapshot();
    for k in kinds {
        println!(
            "{:?} {} sum {} min {} max {} {:?}",
            k.key,
            k.calls(),
            k.sum_ns,
            k.min_ns,
            k.max_ns,
            k.errnos
        );
    }
    println!("{ledger:?}");
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/status")?
            .lines()
            .filter(|l| l.starts_with("VmRSS") || l.starts_with("VmHWM"))
            .collect::<Vec<_>>()
            .join(" ")
    );
    Ok(())
}
