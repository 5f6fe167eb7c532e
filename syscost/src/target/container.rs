//! A container: from an id or a name to its cgroup. Ids come from the names that runtimes give to cgroups, and names from
//! the files of runtimes. No daemon is contacted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use serde_json::Value;

use super::cgroup::{self, Cgroup};
use crate::decode::printable;

/// With fewer digits than this, an argument is a name and not the begin of an id.
const SHORTEST_PREFIX: usize = 4;

/// How many containers an error lists.
const LISTED: usize = 5;

/// A running container, or a pod of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id: 64 hexadecimal digits; of a pod its uid; where runtimes use names only, the name.
    pub id: String,
    /// Its name, if known.
    pub name: Option<String>,
    /// The runtime.
    pub runtime: &'static str,
    /// Its cgroup.
    pub cgroup: Cgroup,
}

/// Where to look.
#[derive(Clone, Debug)]
struct Roots {
    cgroup: PathBuf,
    /// Folders of runtimes, each with a folder for every container.
    docker: PathBuf,
    podman: PathBuf,
    containerd: PathBuf,
}

impl Container {
    /// The container with the id `wanted`, an id that begins so, or that name.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn resolve(wanted: &str) -> Result<Self> {
        let roots = Roots {
            cgroup: cgroup::mount()?,
            docker: "/var/lib/docker/containers".into(),
            podman: "/var/lib/containers/storage/overlay-containers".into(),
            containerd: "/run/containerd/io.containerd.runtime.v2.task".into(),
        };
        roots.resolve(wanted)
    }
}

impl Roots {
    fn resolve(&self, wanted: &str) -> Result<Container> {
        let running = self.running();
        let matches = |container: &&Container| {
            container.id == wanted
                || container.name.as_deref() == Some(wanted)
                || wanted.len() >= SHORTEST_PREFIX && container.id.starts_with(wanted)
        };
        let found: Vec<&Container> = running.iter().filter(matches).collect();
        // An exact name or id wins over one that begins so.
        let exact = found.iter().copied().filter(|container| {
            container.id == wanted || container.name.as_deref() == Some(wanted)
        });
        match (exact.collect::<Vec<_>>().as_slice(), found.as_slice()) {
            ([one], _) | ([], [one]) => Ok((*one).clone()),
            ([], []) if running.is_empty() => bail!(
                "no container {wanted}: there is no cgroup of any container below {}",
                printable::path(&self.cgroup)
            ),
            ([], []) => bail!("no container {wanted}; there are {}", list(running.iter())),
            (_, several) => {
                bail!("{wanted} is several containers: {}", list(several.iter().copied()))
            }
        }
    }

    fn running(&self) -> Vec<Container> {
        let mut found = Vec::new();
        cgroup::visit(&self.cgroup, &mut |directory| {
            let Some((id, runtime)) = recognise(directory) else { return };
            let Ok(cgroup) = Cgroup::at(&self.cgroup, directory) else { return };
            let name = self.name(&id);
            found.push(Container { id, name, runtime, cgroup });
        });
        found
    }

    /// The name that a runtime has given the container `id`.
    fn name(&self, id: &str) -> Option<String> {
        let docker = self.docker.join(id).join("config.v2.json");
        if let Some(config) = json(&docker) {
            return Some(config["Name"].as_str()?.trim_start_matches('/').to_owned());
        }
        if let Some(Value::Array(containers)) = json(&self.podman.join("containers.json")) {
            let own = containers.iter().find(|container| container["id"] == id);
            if let Some(name) = own.and_then(|container| container["names"][0].as_str()) {
                return Some(name.to_owned());
            }
        }
        // An OCI bundle, with what Kubernetes has noted in it: of containerd in a folder for each
        // of its namespaces, of cri-o in that of the storage.
        let spaces = fs::read_dir(&self.containerd).into_iter().flatten().flatten();
        let bundles = spaces.map(|space| space.path().join(id).join("config.json"));
        let crio = self.podman.join(id).join("userdata/config.json");
        let config = bundles.chain([crio]).find_map(|path| json(&path))?;
        let notes = &config["annotations"];
        ["io.kubernetes.cri.container-name", "io.kubernetes.container.name"]
            .iter()
            .find_map(|key| notes[*key].as_str().map(str::to_owned))
    }
}

fn list<'a>(containers: impl ExactSizeIterator<Item = &'a Container>) -> String {
    let more = containers.len().saturating_sub(LISTED);
    let mut shown: Vec<String> = containers
        .take(LISTED)
        .map(|container| {
            let id: String = container.id.chars().take(12).collect();
            let name = container.name.as_deref().map(|name| format!("{name}, "));
            format!("{id} ({}{})", name.unwrap_or_default(), container.cgroup.path)
        })
        .collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// The id of the container whose cgroup `directory` is, and what runs it.
fn recognise(directory: &Path) -> Option<(String, &'static str)> {
    let name = directory.file_name()?.to_str()?;
    let parent = directory.parent()?.file_name().and_then(|parent| parent.to_str());
    let parent = parent.unwrap_or_default();
    // Scopes of systemd: the runtime, the id.
    const SCOPES: [(&str, &str); 5] = [
        ("docker-", "docker"),
        ("cri-containerd-", "containerd"),
        ("nerdctl-", "containerd"),
        ("crio-", "cri-o"),
        ("libpod-", "podman"),
    ];
    if let Some(scope) = name.strip_suffix(".scope") {
        for (prefix, runtime) in SCOPES {
            if let Some(id) = scope.strip_prefix(prefix).filter(|id| is_id(id)) {
                return Some((id.to_owned(), runtime));
            }
        }
        return scope.strip_prefix("machine-").map(|name| (unescape(name), "machine"));
    }
    if let Some(name) = name.strip_prefix("lxc.payload.") {
        return Some((name.to_owned(), "lxc"));
    }
    if let Some(id) = name.strip_prefix("libpod-").filter(|id| is_id(id)) {
        return Some((id.to_owned(), "podman"));
    }
    // Without systemd: a plain id below something that says whose it is.
    if is_id(name) {
        return match parent {
            "docker" => Some((name.to_owned(), "docker")),
            _ if pod(parent).is_some() => Some((name.to_owned(), "kubernetes")),
            "default" | "k8s.io" | "moby" => Some((name.to_owned(), "containerd")),
            _ => None,
        };
    }
    pod(name).map(|uid| (uid, "kubernetes pod"))
}

/// 64 hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The uid of the pod whose cgroup is called `name`: `podUID`, or
/// `kubepods-burstable-podUID.slice` with underscores for hyphens.
fn pod(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) if slice.starts_with("kubepods") => slice.rsplit_once("-pod")?.1,
        Some(_) => return None,
        None => name.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    let digits = uid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    (digits && uid.len() >= 32).then_some(uid)
}

/// systemd writes `-` in names of units as `\x2d`.
fn unescape(name: &str) -> String {
    name.replace("\\x2d", "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaa0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab";
    const B: &str = "aaaa9876543210fedcba9876543210fedcba9876543210fedcba9876543210fe";
    const POD: &str = "0f5e2c1a-1111-2222-3333-444455556666";

    fn roots(cgroups: &[String]) -> (tempfile::TempDir, Roots) {
        let folder = tempfile::tempdir().unwrap();
        let root = |name: &str| folder.path().join(name);
        for cgroup in cgroups {
            fs::create_dir_all(root("cgroup").join(cgroup)).unwrap();
        }
        let roots = Roots {
            cgroup: root("cgroup"),
            docker: root("docker"),
            podman: root("podman"),
            containerd: root("containerd"),
        };
        (folder, roots)
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn every_runtimes_cgroups_are_recognised() {
        let uid = POD.replace('-', "_");
        let cases = [
            (format!("system.slice/docker-{A}.scope"), A, "docker"),
            (format!("docker/{A}"), A, "docker"),
            (format!("kubepods.slice/x.slice/cri-containerd-{A}.scope"), A, "containerd"),
            (format!("kubepods/burstable/pod{POD}/{A}"), A, "kubernetes"),
            (format!("kubepods.slice/crio-{A}.scope"), A, "cri-o"),
            (format!("machine.slice/libpod-{A}.scope"), A, "podman"),
            (format!("default/{A}"), A, "containerd"),
            (format!("kubepods.slice/kubepods-burstable-pod{uid}.slice"), POD, "kubernetes pod"),
            (format!("kubepods/besteffort/pod{POD}"), POD, "kubernetes pod"),
            ("machine.slice/machine-web\\x2d1.scope".to_owned(), "web-1", "machine"),
            ("lxc.payload.web".to_owned(), "web", "lxc"),
        ];
        for (path, id, runtime) in cases {
            let recognised = recognise(Path::new(&path));
            assert_eq!(recognised, Some((id.to_owned(), runtime)), "{path}");
        }
        // A monitor is no container, nor is a service.
        for path in [format!("libpod-conmon-{A}.scope"), "system.slice/nginx.service".to_owned()] {
            assert_eq!(recognise(Path::new(&path)), None, "{path}");
        }
    }

    #[test]
    fn a_container_is_found_by_id_prefix_and_name() {
        let (_folder, roots) = roots(&[
            format!("system.slice/docker-{A}.scope/init"),
            format!("machine.slice/libpod-{B}.scope"),
        ]);
        write(&roots.docker.join(A).join("config.v2.json"), r#"{"Name": "/web"}"#);
        let podman = format!(r#"[{{"id": "{B}", "names": ["db"]}}]"#);
        write(&roots.podman.join("containers.json"), &podman);
        for wanted in [A, &A[..12], "web"] {
            let found = roots.resolve(wanted).unwrap();
            assert_eq!((found.id.as_str(), found.name.as_deref()), (A, Some("web")));
            assert_eq!(found.cgroup.level, 2);
            assert_eq!(found.cgroup.path, format!("/system.slice/docker-{A}.scope"));
        }
        assert_eq!(roots.resolve("db").unwrap().runtime, "podman");
        let error = roots.resolve("aaaa").unwrap_err().to_string();
        assert!(error.starts_with("aaaa is several containers: "), "{error}");
        let error = roots.resolve("cache").unwrap_err().to_string();
        assert!(error.starts_with("no container cache; there are "), "{error}");
        assert!(error.contains("web, "), "{error}");
    }

    #[test]
    fn names_of_kubernetes_are_read_from_the_bundles() {
        let (_folder, roots) =
            roots(&[format!("kubepods/pod{POD}/{A}"), format!("kubepods.slice/crio-{B}.scope")]);
        let note = |key: &str, name: &str| format!(r#"{{"annotations": {{"{key}": "{name}"}}}}"#);
        write(
            &roots.containerd.join("k8s.io").join(A).join("config.json"),
            &note("io.kubernetes.cri.container-name", "api"),
        );
        write(
            &roots.podman.join(B).join("userdata/config.json"),
            &note("io.kubernetes.container.name", "worker"),
        );
        assert_eq!(roots.resolve("api").unwrap().id, A);
        assert_eq!(roots.resolve("worker").unwrap().id, B);
        assert_eq!(roots.resolve(POD).unwrap().runtime, "kubernetes pod");
    }

    #[test]
    fn where_there_is_no_container_it_says_where_it_looked() {
        let (_folder, roots) = roots(&["system.slice/nginx.service".to_owned()]);
        let error = roots.resolve("web").unwrap_err().to_string();
        assert!(error.contains("no cgroup of any container below"), "{error}");
    }
}
