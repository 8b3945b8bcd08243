//! Habits of those who come from minikube, kind, k3d or MicroK8s: a hint for words and flags that have another name here.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Words that other tools have for their verbs, and what to type here. Of several that fit, the longest counts.
const WORDS: &[(&str, &str)] = &[
    // kind
    ("create", "kcl start"),
    ("create cluster", "kcl start"),
    ("get clusters", "kcl profile list"),
    ("get nodes", "kcl node list"),
    ("get kubeconfig", "kcl kubectl -- config view --raw --minify"),
    ("load", "kcl image load"),
    ("load docker-image", "kcl image load IMAGE"),
    ("load image-archive", "kcl image load FILE"),
    ("export", "kcl logs --archive FILE"),
    ("export logs", "kcl logs --archive FILE"),
    ("export kubeconfig", "kcl update-context"),
    ("build", "kcl image build -t NAME ."),
    ("build node-image", "kcl artifacts fetch --from build"),
    // k3d
    ("cluster", "kcl profile list"),
    ("cluster create", "kcl start -p NAME"),
    ("cluster delete", "kcl delete -p NAME"),
    ("cluster edit", "kcl start -p NAME --ports PORTS"),
    ("cluster get", "kcl profile list"),
    ("cluster list", "kcl profile list"),
    ("cluster ls", "kcl profile list"),
    ("cluster start", "kcl start -p NAME"),
    ("cluster stop", "kcl stop -p NAME"),
    ("kubeconfig", "kcl update-context"),
    ("kubeconfig get", "kcl kubectl -- config view --raw --minify"),
    ("registry", "kcl addons enable registry"),
    ("node create", "kcl node add"),
    ("node edit", "kcl start"),
    ("node ls", "kcl node list"),
    // minikube
    ("cache", "kcl image load IMAGE"),
    ("config defaults", "kcl config view"),
    ("config get", "kcl config view"),
    ("config set", "kcl start --config FILE, a cluster file with the settings"),
    ("config unset", "kcl start --config FILE, a cluster file with the settings"),
    ("docker-env", "kcl image build -t NAME ., or kcl image env"),
    ("ip", "kcl node list"),
    ("license", "kcl version"),
    ("options", "kcl --help"),
    ("pause", "kcl stop"),
    ("podman-env", "kcl image build -t NAME ., or kcl image env"),
    ("profile set", "kcl COMMAND -p NAME, or the variable KCL_PROFILE"),
    ("ssh-host", "kcl ssh"),
    ("ssh-key", "kcl ssh"),
    ("unpause", "kcl start"),
    ("update-check", "kcl version"),
    // MicroK8s
    ("add-node", "kcl node add"),
    ("ctr", "kcl ssh -- ctr -n k8s.io"),
    ("dashboard-proxy", "kcl dashboard --url"),
    ("disable", "kcl addons disable NAME"),
    ("enable", "kcl addons enable NAME"),
    ("helm3", "kcl helm --"),
    ("inspect", "kcl logs --archive FILE"),
    ("join", "kcl node add --host USER@ADDRESS"),
    ("leave", "kcl node delete NAME"),
    ("certificate", "kcl certs list, and kcl certs rotate"),
    ("cert", "kcl certs list, and kcl certs rotate"),
    ("refresh-certs", "kcl certs rotate"),
    ("remove-node", "kcl node delete NAME"),
    ("reset", "kcl delete"),
    // kubectl
    ("annotate", "kcl kubectl -- annotate"),
    ("apply", "kcl kubectl -- apply"),
    ("cordon", "kcl node cordon NAME"),
    ("create deployment", "kcl kubectl -- create deployment"),
    ("describe", "kcl kubectl -- describe"),
    ("drain", "kcl node drain NAME"),
    ("edit", "kcl kubectl -- edit"),
    ("expose", "kcl kubectl -- expose"),
    ("get", "kcl kubectl -- get"),
    ("label", "kcl kubectl -- label"),
    ("patch", "kcl kubectl -- patch"),
    ("port-forward", "kcl kubectl -- port-forward"),
    ("rollout", "kcl kubectl -- rollout"),
    ("scale", "kcl kubectl -- scale"),
    ("taint", "kcl kubectl -- taint"),
    ("top", "kcl kubectl -- top"),
    ("uncordon", "kcl node uncordon NAME"),
    // What is tried without a manual.
    ("console", "kcl dashboard"),
    ("destroy", "kcl delete"),
    ("doctor", "kcl status, and kcl drivers"),
    ("down", "kcl stop"),
    ("exec", "kcl ssh -- COMMAND"),
    ("images", "kcl image ls"),
    ("info", "kcl status"),
    ("init", "kcl start"),
    ("list", "kcl profile list"),
    ("ls", "kcl profile list"),
    ("node remove", "kcl node delete NAME"),
    ("node rm", "kcl node delete NAME"),
    ("nodes", "kcl node list"),
    ("profiles", "kcl profile list"),
    ("ps", "kcl profile list"),
    ("remove", "kcl delete"),
    ("restart", "kcl stop, and kcl start"),
    ("rm", "kcl delete"),
    ("services", "kcl service list"),
    ("shell", "kcl ssh"),
    ("ui", "kcl dashboard"),
    ("uninstall", "kcl delete --all, and kcl artifacts clean --all"),
    ("up", "kcl start"),
    ("upgrade", "kcl start -p NAME --kubernetes-version VERSION, a new cluster"),
    ("web", "kcl dashboard"),
];

/// Flags of other tools: the verb, or none for every verb; the flag; the advice.
const FLAGS: &[(&str, &str, &str)] = &[
    ("", "--cluster", "use -p NAME"),
    ("", "--kubeconfig", "use the variable KUBECONFIG"),
    ("", "--name", "use -p NAME"),
    ("delete", "--purge", "use kcl delete --all, and kcl artifacts clean --all"),
    ("logs", "--file", "use --archive FILE"),
    ("logs", "--length", "use --tail COUNT"),
    ("logs", "--problems", "use kcl status, and kcl logs COMPONENT"),
    ("node", "--control-plane", "use --role control-plane"),
    ("node", "--delete-emptydir-data", "leave it out: such data goes with its pod"),
    ("node", "--ignore-daemonsets", "leave it out: pods of DaemonSets stay"),
    ("node", "--k3s-node-label", "use --label KEY=VALUE"),
    ("node", "--replicas", "leave it out: one node is added at a time"),
    ("node", "--worker", "leave it out: nodes that are added are workers"),
    ("run", "--image", "use kcl kubectl -- run NAME --image IMAGE"),
    ("service", "--all", "use kcl service list"),
    ("start", "--agents", "use --nodes COUNT, of which the first is the control plane"),
    ("start", "--apiserver-name", "use --apiserver-names NAME"),
    ("start", "--base-image", "leave it out: kcl makes its nodes itself"),
    ("start", "--cni", "leave it out: clusters have a CNI plugin of their own"),
    ("start", "--container-runtime", "leave it out: it is always containerd"),
    ("start", "--disk-size", "leave it out: nodes take what they need"),
    ("start", "--embed-certs", "leave it out: the kubeconfig always has its certificates"),
    ("start", "--force", "leave it out: what this host lacks is reported before anything changes"),
    ("start", "--ha", "use --control-planes 3"),
    ("start", "--image", "use --kubernetes-version VERSION"),
    (
        "start",
        "--insecure-registry",
        "use kcl addons enable registry, or files in /etc/containerd/certs.d in the nodes",
    ),
    ("start", "--install-addons", "use --addons NAMES; without it there are the default ones"),
    ("start", "--k3s-arg", "use --extra-config COMPONENT.KEY=VALUE"),
    ("start", "--listen-address", "use --ports ADDRESS:PORT:NODE_PORT"),
    ("start", "--mount-string", "use --mount HOST:NODE"),
    ("start", "--no-vtx-check", "leave it out: it is not needed"),
    ("start", "--port", "use --ports PORT:NODE_PORT"),
    ("start", "--registry-mirror", "use files in /etc/containerd/certs.d of the nodes: kcl cp"),
    ("start", "--retain", "use --keep"),
    ("start", "--server-arg", "use --extra-config COMPONENT.KEY=VALUE"),
    ("start", "--servers", "use --control-planes COUNT"),
    ("start", "--timeout", "use --wait-timeout TIME"),
    ("start", "--vm-driver", "use --driver DRIVER"),
    ("start", "--volume", "use --mount HOST:NODE"),
    ("start", "--workers", "use --nodes COUNT, of which the first is the control plane"),
    ("status", "--format", "use -o json"),
    ("tunnel", "--cleanup", "leave it out: there is nothing to clean up"),
    ("version", "--short", "use kcl version"),
];

/// Returns the advice for a command line that another tool would take.
pub(super) fn hint(error: &clap::Error, arguments: &[String]) -> Option<String> {
    let told = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let words: Vec<&str> = words(arguments).collect();
    let here = match error.kind() {
        ErrorKind::InvalidSubcommand => word(&words)?,
        ErrorKind::UnknownArgument => {
            let found = told(ContextKind::InvalidArg)?;
            match found.strip_prefix('-') {
                Some(_) => return flag(words.first().copied().unwrap_or_default(), found).map(str::to_owned),
                None => word(&words)?,
            }
        }
        _ => return None,
    };
    Some(format!("in kcl this is: {here}"))
}

/// Returns the words that are neither flags nor, as far as can be told, their values.
fn words(arguments: &[String]) -> impl Iterator<Item = &str> {
    let mut value = false;
    arguments.iter().map(String::as_str).take_while(|word| *word != "--").filter(move |word| {
        let of_a_flag = std::mem::replace(&mut value, matches!(*word, "-p" | "--profile" | "--name"));
        !of_a_flag && !word.starts_with('-')
    })
}

fn word(words: &[&str]) -> Option<&'static str> {
    let fits = |habit: &str| {
        let habit: Vec<_> = habit.split(' ').collect();
        words.starts_with(&habit).then_some(habit.len())
    };
    WORDS
        .iter()
        .filter_map(|(habit, here)| Some((fits(habit)?, *here)))
        .max_by_key(|(length, _)| *length)
        .map(|it| it.1)
}

fn flag(verb: &str, found: &str) -> Option<&'static str> {
    let name = found.split('=').next().unwrap_or(found);
    let fits = |of: &str| of.is_empty() || of == verb;
    FLAGS.iter().find(|(of, flag, _)| *flag == name && fits(of)).map(|(_, _, here)| *here)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn asked(line: &str) -> Option<String> {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let all = std::iter::once("kcl").chain(line.split(' '));
        hint(&Cli::command().try_get_matches_from(all).expect_err(line), &arguments)
    }

    #[test]
    fn no_habit_is_a_command_here() {
        for (habit, _) in WORDS {
            assert!(asked(habit).is_some(), "{habit}");
        }
        for (verb, flag, _) in FLAGS {
            let verb = if verb.is_empty() { "stop" } else { verb };
            assert!(asked(&format!("{verb} {flag}")).is_some(), "{verb} {flag}");
        }
    }

    #[test]
    fn the_longest_habit_counts() {
        for (line, advice) in [
            ("create cluster --name x", "in kcl this is: kcl start"),
            ("get pods", "in kcl this is: kcl kubectl -- get"),
            ("get clusters", "in kcl this is: kcl profile list"),
            ("-p x create deployment y", "in kcl this is: kcl kubectl -- create deployment"),
            ("start --cni=calico", "leave it out: clusters have a CNI plugin of their own"),
            ("create cluster", "in kcl this is: kcl start"),
            ("start --servers 3", "use --control-planes COUNT"),
        ] {
            assert_eq!(asked(line).as_deref(), Some(advice), "{line}");
        }
        assert_eq!(asked("strat"), None);
    }
}
