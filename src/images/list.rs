//! The images of several nodes as one list.

use std::collections::BTreeMap;

use serde::Serialize;

use super::containerd::CriImage;

/// An image and the nodes that have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRow {
    /// The digest of its configuration.
    pub id: String,
    /// Its names by digests.
    pub repo_digests: Vec<String>,
    /// Its names by tags.
    pub repo_tags: Vec<String>,
    /// Its size in bytes, as the node stores it; a string, as in the output of other tools.
    pub size: String,
    /// The nodes that have it.
    pub nodes: Vec<String>,
}

/// Merges the images of nodes by their ids, sorted by name.
pub fn union(nodes: Vec<(String, Vec<CriImage>)>) -> Vec<ImageRow> {
    let mut rows: BTreeMap<String, ImageRow> = BTreeMap::new();
    for (node, images) in nodes {
        for image in images {
            let row = rows.entry(image.id.clone()).or_insert_with(|| ImageRow {
                id: image.id.clone(),
                repo_digests: Vec::new(),
                repo_tags: Vec::new(),
                size: image.size.to_string(),
                nodes: Vec::new(),
            });
            row.repo_tags.extend(image.repo_tags);
            row.repo_digests.extend(image.repo_digests);
            row.nodes.push(node.clone());
        }
    }
    let mut rows: Vec<ImageRow> = rows.into_values().collect();
    for row in &mut rows {
        for list in [&mut row.repo_tags, &mut row.repo_digests, &mut row.nodes] {
            list.sort();
            list.dedup();
        }
    }
    // Images without a name come last.
    rows.sort_by(|a, b| (a.repo_tags.is_empty(), &a.repo_tags).cmp(&(b.repo_tags.is_empty(), &b.repo_tags)));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_joined() {
        let image = |id: &str, tags: &[&str]| CriImage {
            id: id.to_owned(),
            repo_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            size: 7,
            ..CriImage::default()
        };
        let rows = union(vec![
            ("one".to_owned(), vec![image("sha256:b", &[]), image("sha256:a", &["z:1"])]),
            ("two".to_owned(), vec![image("sha256:a", &["y:1", "z:1"])]),
        ]);
        let found: Vec<_> =
            rows.iter().map(|row| (row.id.as_str(), row.repo_tags.join(" "), row.nodes.join(" "))).collect();
        assert_eq!(
            found,
            [("sha256:a", "y:1 z:1".to_owned(), "one two".to_owned()), ("sha256:b", String::new(), "one".to_owned())]
        );
    }
}
