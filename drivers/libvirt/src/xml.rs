//! Builds XML as a tree, written by quick-xml, which escapes text.

use std::io;

use quick_xml::Writer;
use quick_xml::events::BytesText;

/// An element with attributes, and with text or elements in it.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    text: Option<String>,
    children: Vec<Element>,
}

/// Returns an empty element.
pub(crate) fn element(name: &'static str) -> Element {
    Element { name, attributes: Vec::new(), text: None, children: Vec::new() }
}

impl Element {
    /// Adds an attribute.
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Element {
        self.attributes.push((name, value.to_string()));
        self
    }

    /// Sets the text, which is all that the element contains.
    pub(crate) fn text(mut self, text: impl ToString) -> Element {
        self.text = Some(text.to_string());
        self
    }

    /// Adds elements as children.
    pub(crate) fn holding(mut self, children: impl IntoIterator<Item = Element>) -> Element {
        self.children.extend(children);
        self
    }

    /// Returns the element as a document.
    pub(crate) fn render(&self) -> String {
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
        self.write(&mut writer).expect("memory takes all that is written");
        String::from_utf8(writer.into_inner()).expect("it is made of text")
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
        let attributes = self.attributes.iter().map(|(name, value)| (*name, value.as_str()));
        let start = writer.create_element(self.name).with_attributes(attributes);
        match &self.text {
            Some(text) => start.write_text_content(BytesText::new(text)).map(drop),
            None if self.children.is_empty() => start.write_empty().map(drop),
            None => {
                let inner =
                    |writer: &mut Writer<Vec<u8>>| self.children.iter().try_for_each(|child| child.write(writer));
                start.write_inner_content(inner).map(drop)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped() {
        let document = element("a").with("b", "<'\"&>").holding([element("c").text("</a>"), element("d")]).render();
        assert_eq!(document, "<a b=\"&lt;&apos;&quot;&amp;&gt;\">\n  <c>&lt;/a&gt;</c>\n  <d/>\n</a>");
    }
}
