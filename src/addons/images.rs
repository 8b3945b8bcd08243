//! Images of the catalog in nodes that run already: each is sent to the nodes that do not have just this one.

use futures::future::try_join_all;
use kcl_driver_api::{Exec, Machine, Stdin};
use kcl_node_spec::paths;

use crate::artifacts::ImageArchive;
use crate::error::{Error, Family, Result};

/// Sends images to the nodes that lack them. Returns how many were sent.
pub async fn ensure(machines: &[Box<dyn Machine>], images: &[ImageArchive]) -> Result<usize> {
    let sent = try_join_all(machines.iter().map(|machine| ensure_in(machine.as_ref(), images))).await?;
    Ok(sent.into_iter().sum())
}

async fn ensure_in(machine: &dyn Machine, images: &[ImageArchive]) -> Result<usize> {
    let listed = ctr(machine, &["images", "ls"], Stdin::Null).await?;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let there = |image: &&ImageArchive| {
        let has = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.first() == Some(&image.reference.as_str()) && words.contains(&image.digest.as_str())
        };
        listed.lines().any(has)
    };
    let missing: Vec<&ImageArchive> = images.iter().filter(|image| !there(image)).collect();
    for image in &missing {
        let archive = tokio::fs::read(&image.path).await.map_err(|error| {
            Error::new(Family::Artifact, format!("{} cannot be read: {error}", image.path.display())).source(error)
        })?;
        // Labelled as the CRI plugin labels what it pulls itself.
        let import =
            ["images", "import", "--snapshotter", "overlayfs", "--label", "io.cri-containerd.image=managed", "-"];
        ctr(machine, &import, Stdin::Bytes(archive)).await?;
    }
    Ok(missing.len())
}

/// Runs containerd's own client in a node.
async fn ctr(machine: &dyn Machine, arguments: &[&str], stdin: Stdin) -> Result<Vec<u8>> {
    let program = format!("{}/bin/ctr", paths::COMPONENTS);
    let argv = [program.as_str(), "--namespace", "k8s.io"].into_iter().chain(arguments.iter().copied());
    let output = machine.exec(Exec { stdin, ..Exec::new(argv) }).await?;
    match output.code {
        0 => Ok(output.stdout),
        code => {
            let said = String::from_utf8_lossy(&output.stderr);
            let what = format!("ctr {} on node {} failed ({code})", arguments.join(" "), machine.name());
            Err(Error::new(Family::Cluster, format!("{what}: {}", said.trim())))
        }
    }
}
