//! The machine: processor, hypervisor, clock source, mitigations.

use std::{fs, thread};

use anyhow::{Context, Result};

use crate::model::calibration::{Machine, Mitigation};

const FLAWS: &str = "/sys/devices/system/cpu/vulnerabilities";
const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

pub(super) fn facts() -> Result<Machine> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
    Ok(Machine {
        processor: processor(&cpuinfo),
        cpus: thread::available_parallelism().map_or(1, usize::from),
        hypervisor: hypervisor(&cpuinfo),
        clock_source: line_of(CLOCK_SOURCE).unwrap_or_else(|| "unknown".to_owned()),
        mitigations: mitigations(),
    })
}

fn processor(cpuinfo: &str) -> String {
    field(cpuinfo, "model name")
        .map(str::to_owned)
        // arm64 has numbers instead.
        .or_else(|| {
            let (by, part) = (field(cpuinfo, "CPU implementer")?, field(cpuinfo, "CPU part")?);
            Some(format!("implementer {by}, part {part}"))
        })
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The name of the hypervisor, if it has one. On arm64 a hypervisor need not be visible.
fn hypervisor(cpuinfo: &str) -> Option<String> {
    let flags = field(cpuinfo, "flags").unwrap_or_default();
    let shown = flags.split(' ').any(|flag| flag == "hypervisor");
    let name = line_of("/sys/hypervisor/type").or_else(vendor);
    if shown { Some(name.unwrap_or_else(|| "of unknown make".to_owned())) } else { name }
}

/// As the processor's identification has it (leaf 0x4000_0000).
#[cfg(target_arch = "x86_64")]
fn vendor() -> Option<String> {
    use std::arch::x86_64::__cpuid;
    if __cpuid(1).ecx >> 31 == 0 {
        return None;
    }
    let leaf = __cpuid(0x4000_0000);
    let bytes: Vec<u8> =
        [leaf.ebx, leaf.ecx, leaf.edx].into_iter().flat_map(u32::to_le_bytes).collect();
    let name: String =
        bytes.iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| *byte as char).collect();
    match name.as_str() {
        "" => None,
        "KVMKVMKVM" => Some("KVM".to_owned()),
        "MicrosoftHv" => Some("Hyper-V".to_owned()),
        "VMwareVMware" => Some("VMware".to_owned()),
        "XenVMMXenVMM" => Some("Xen".to_owned()),
        "TCGTCGTCGTCG" => Some("QEMU, emulated".to_owned()),
        _ => Some(name),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vendor() -> Option<String> {
    line_of("/proc/device-tree/hypervisor/compatible")
}

/// The CPU vulnerabilities of this machine, by name.
fn mitigations() -> Vec<Mitigation> {
    let files = fs::read_dir(FLAWS).into_iter().flatten().flatten();
    let mut mitigations: Vec<_> = files
        .filter_map(|file| {
            let status = line_of(file.path().to_str()?)?;
            Mitigation::new(file.file_name().to_str()?, &status)
        })
        .collect();
    mitigations.sort_by(|one, other| one.flaw.cmp(&other.flaw));
    mitigations
}

fn line_of(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.trim_matches(['\0', '\n', ' ']).to_owned();
    (!line.is_empty()).then_some(line)
}

fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    cpuinfo.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        (field.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_called_what_they_call_themselves() {
        let x86 = "processor\t: 0\nmodel name\t: AMD EPYC 9B14\nflags\t\t: fpu hypervisor lm\n";
        assert_eq!(processor(x86), "AMD EPYC 9B14");
        assert!(hypervisor(x86).is_some());
        let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n";
        assert_eq!(processor(arm), "implementer 0x41, part 0xd0c");
    }
}
