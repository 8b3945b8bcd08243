//! Templates of manifests, and texts in manifests that only look like templates.

use minijinja::{Environment, Value};

use super::definition::Addon;
use crate::error::{Error, Id, Result};

/// The start of the length of a shell's variable (`${#name}`), which would start a comment of a template.
const LENGTH: &str = "${#";

/// Renders a file of an addon, or returns it as it is if the addon says that it is plain.
///
/// # Errors
/// `Usage` if the template is wrong or uses what does not exist.
pub(super) fn render(environment: &Environment<'_>, addon: &Addon, file: &str, values: &Value) -> Result<String> {
    let template = addon.templates[file].as_str();
    if addon.description.plain.iter().any(|plain| plain == file) {
        return Ok(template.to_owned());
    }
    environment.render_str(&with_lengths(template), values).map_err(|error| {
        let line = error.line().map(|line| format!(", line {line}")).unwrap_or_default();
        let message = format!("the addon {}: {file}{line} cannot be rendered: {error}", addon.name);
        Error::new(Id::AddonInvalid, message)
            .hint("text of the manifest's own such as {{ $labels }} stands between {% raw %} and {% endraw %}")
            .hint(format!("or nothing in {file} is a template: plain = [\"{file}\"] in addon.toml"))
            .source(error)
    })
}

/// Makes texts of the lengths of a shell's variables, except between `raw` and `endraw`, where everything is text.
fn with_lengths(template: &str) -> String {
    let mut result = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(LENGTH) {
        let raw = find_tag(&rest[..at], "raw");
        match raw.and_then(|begin| find_tag(&rest[begin..], "endraw").map(|end| begin + end)) {
            Some(end) => {
                let (before, after) = rest.split_at(end + 2);
                result.push_str(before);
                rest = after;
            }
            None => {
                result.push_str(&rest[..at]);
                result.push_str("${{ '{#' }}");
                rest = &rest[at + LENGTH.len()..];
            }
        }
    }
    result + rest
}

/// Returns the place of a tag such as `{% raw %}`.
fn find_tag(text: &str, name: &str) -> Option<usize> {
    let is_tag = |at: &usize| {
        let inner = text[at + 2..].trim_start_matches(['-', '+', ' ']);
        inner.strip_prefix(name).is_some_and(|rest| rest.trim_start_matches(['-', '+', ' ']).starts_with("%}"))
    };
    text.match_indices("{%").map(|(at, _)| at).find(is_tag)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use minijinja::{UndefinedBehavior, context};

    use super::super::files::DESCRIPTION;
    use super::*;

    fn addon(template: &str, more: &str) -> Result<Addon> {
        let description = format!("title = \"A\"\nversion = \"1\"\n{more}");
        let files = [(DESCRIPTION.to_owned(), description), ("a.yaml".to_owned(), template.to_owned())];
        Addon::parse("own", "./own", BTreeMap::from(files))
    }

    fn rendered(template: &str, more: &str) -> Result<String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        render(&environment, &addon(template, more)?, "a.yaml", &context! { version => "1" })
    }

    #[test]
    fn text_that_only_looks_like_a_template_stays() {
        for (template, text) in [
            ("v{{ version }}", "v1"),
            ("${#x} ${#y[@]} ${x#a} #}", "${#x} ${#y[@]} ${x#a} #}"),
            ("{# a comment ${#x} #}v", "v"),
            ("{% raw %}{{ $labels }} ${#x}{% endraw %} ${#y} {{ version }}", "{{ $labels }} ${#x} ${#y} 1"),
            ("{%- raw -%} ${#x} {%- endraw -%} ${#y}", "${#x}${#y}"),
            ("{% raw %}{{{% endraw %} ${#y} {% raw %}${#z}{% endraw %}", "{{ ${#y} ${#z}"),
        ] {
            assert_eq!(rendered(template, "").unwrap(), text, "{template}");
        }
        let plain = "{{ $labels }} {% if %} {# ${#x}";
        assert_eq!(rendered(plain, "plain = [\"a.yaml\"]").unwrap(), plain);
    }

    #[test]
    fn errors_say_how_to_write_text() {
        for template in ["a\n{{ $labels.x }}", "a\n{{ labels.x }}", "a\n{% range %}"] {
            let error = rendered(template, "").unwrap_err();
            assert!(error.message.contains("own: a.yaml, line 2"), "{error}");
            assert!(error.hints[0].contains("{% raw %}") && error.hints[1].contains("plain = [\"a.yaml\"]"));
        }
        let error = addon("", "plain = [\"b.yaml\"]").unwrap_err();
        assert!(error.message.contains("addon.toml: plain: \"b.yaml\""), "{error}");
    }
}
