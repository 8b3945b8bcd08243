//! The results and the cache of a build, as `docker buildx build` names them, for BuildKit's own client.

use crate::error::{Error, Id, Result};

/// The results of a build.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outputs {
    /// The image that goes to the nodes; none if only files are wanted.
    pub image: Option<ImageOutput>,
    /// The others, in the words of BuildKit's client.
    pub others: Vec<String>,
}

/// An image for the nodes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ImageOutput {
    /// The names that the output gives it.
    pub names: Vec<String>,
    /// It is also pushed to its registry.
    pub push: bool,
}

impl Outputs {
    /// Reads the values of `--output`; without any, the image goes to the nodes. `names` are those of `--tag`.
    pub(super) fn parse(words: &[String], names: &[String]) -> Result<Self> {
        let mut outputs = Outputs::default();
        if words.is_empty() {
            outputs.image = Some(ImageOutput::default());
        }
        for word in words {
            let fields: Vec<(String, String)> = match word.as_str() {
                "-" => vec![("type".to_owned(), "tar".to_owned()), ("dest".to_owned(), "-".to_owned())],
                path if !path.contains('=') => {
                    vec![("type".to_owned(), "local".to_owned()), ("dest".to_owned(), path.to_owned())]
                }
                word => fields("--output", word)?,
            };
            let value = |key: &str| fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
            let named = value("name");
            match (value("type").unwrap_or_default(), value("dest")) {
                (kind @ ("image" | "registry" | "docker"), None) => {
                    let image = outputs.image.get_or_insert_default();
                    image.names.extend(named.into_iter().flat_map(|name| name.split(',')).map(str::to_owned));
                    image.push |= kind == "registry" || value("push") == Some("true");
                }
                (kind @ ("local" | "tar" | "oci" | "docker"), _) => {
                    let mut fields = fields.clone();
                    if ["oci", "docker"].contains(&kind) && named.is_none() && !names.is_empty() {
                        fields.push(("name".to_owned(), names.join(",")));
                    }
                    outputs.others.push(joined(&fields));
                }
                (kind, _) => {
                    return Err(Error::new(
                        Id::ImageBuildInvalid,
                        format!("--output {word}: {kind:?} is no type of output"),
                    )
                    .hint(
                        "types are: image, registry, docker, oci, tar and local, such as type=local,dest=DIRECTORY",
                    ));
                }
            }
        }
        Ok(outputs)
    }

    /// Returns true if a result goes to standard output.
    pub(super) fn uses_stdout(&self) -> bool {
        self.others.iter().any(|word| {
            let to_file = word.contains("dest=") && !word.contains("dest=-");
            !to_file && !word.contains("type=local")
        })
    }
}

/// Returns a value of `--cache-from` or `--cache-to` in the words of BuildKit's client: a name alone is one in a registry.
pub(super) fn cache(flag: &str, word: &str) -> Result<String> {
    if !word.contains('=') {
        return Ok(joined(&[("type".to_owned(), "registry".to_owned()), ("ref".to_owned(), word.to_owned())]));
    }
    let fields = fields(flag, word)?;
    match fields.iter().any(|(key, _)| key == "type") {
        true => Ok(joined(&fields)),
        false => Err(Error::new(Id::ImageBuildInvalid, format!("{flag} {word}: the type is missing"))
            .hint("such as: type=local,src=DIRECTORY or type=registry,ref=NAME")),
    }
}

/// Splits `key=value,…`, of which a field may be quoted as in CSV.
fn fields(flag: &str, word: &str) -> Result<Vec<(String, String)>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for character in word.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            character => fields.last_mut().expect("there is one").push(character),
        }
    }
    let field = |field: &String| {
        let split = field.split_once('=').map(|(key, value)| (key.trim().to_lowercase(), value.to_owned()));
        split.ok_or_else(|| {
            Error::new(Id::ImageBuildInvalid, format!("{flag} {word}: {field:?} is not of the form KEY=VALUE"))
        })
    };
    fields.iter().map(field).collect()
}

fn joined(fields: &[(String, String)]) -> String {
    let field = |(key, value): &(String, String)| match value.contains([',', '"']) {
        true => format!("\"{key}={}\"", value.replace('"', "\"\"")),
        false => format!("{key}={value}"),
    };
    fields.iter().map(field).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Outputs {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Outputs::parse(&words, &["app:1".to_owned(), "app:2".to_owned()]).expect("outputs")
    }

    #[test]
    fn outputs_are_those_of_docker() {
        let image = |push| Some(ImageOutput { names: Vec::new(), push });
        assert_eq!(parse(&[]).image, image(false));
        assert_eq!(parse(&["type=docker"]).image, image(false));
        assert_eq!(parse(&["type=registry"]).image, image(true));
        assert_eq!(parse(&["type=image,push=true"]).image, image(true));
        assert_eq!(parse(&["type=image,\"name=a:1,b:1\""]).image.unwrap().names, ["a:1", "b:1"]);
        for (word, wanted, stdout) in [
            ("out", "type=local,dest=out", false),
            ("-", "type=tar,dest=-", true),
            ("type=tar", "type=tar", true),
            ("type=tar,dest=x.tar", "type=tar,dest=x.tar", false),
            ("type=oci,dest=x.tar", "type=oci,dest=x.tar,\"name=app:1,app:2\"", false),
            ("type=docker,dest=x.tar,name=other", "type=docker,dest=x.tar,name=other", false),
        ] {
            let outputs = parse(&[word]);
            assert_eq!(
                (outputs.image.is_none(), outputs.others.as_slice()),
                (true, &[wanted.to_owned()][..]),
                "{word}"
            );
            assert_eq!(outputs.uses_stdout(), stdout, "{word}");
        }
        let both = parse(&["type=docker", "out"]);
        assert!(both.image.is_some() && both.others.len() == 1);
        for wrong in ["type=other", "dest=x", "type=local,out"] {
            assert!(Outputs::parse(&[wrong.to_owned()], &[]).unwrap_err().message.contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_cache_without_a_type_is_in_a_registry() {
        assert_eq!(cache("--cache-from", "me/app:cache").unwrap(), "type=registry,ref=me/app:cache");
        assert_eq!(cache("--cache-to", "type=local,dest=/tmp/a").unwrap(), "type=local,dest=/tmp/a");
        assert!(cache("--cache-to", "dest=/tmp/a").unwrap_err().message.contains("--cache-to dest=/tmp/a"));
    }
}
