use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::granit_parser::{self, ErrorKind, Event, Parser, ScanError, Span};

use super::{Key, Node, Scalar, Value, children};
use crate::fault::Fault;
use crate::yaml::{MAX_ALIASES, MAX_BYTES, MAX_DEPTH, MAX_NODES};

/// The longest file, in bytes. Each document in it also has the limits of [`crate::yaml`].
const MAX_FILE: usize = 4 * 1024 * 1024;
/// The most documents in one file.
const MAX_DOCUMENTS: usize = 10_000;

/// The documents of `text`, in order. The first fault is the last item.
pub(crate) fn documents(text: &str) -> impl Iterator<Item = Result<Node, Fault>> {
    let mut reader = Reader::new(text);
    std::iter::from_fn(move || reader.next_document().transpose())
}

struct Reader<'a> {
    parser: Option<Parser<'a, granit_parser::StrInput<'a>>>,
    refused: Option<Fault>,
    documents: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        if text.len() > MAX_FILE {
            let fault = whole(1, &format!("it is longer than {MAX_FILE} bytes"), "split the file");
            return Self { parser: None, refused: Some(fault), documents: 0 };
        }
        let options = granit_parser::options! {
            emit_comments: false,
            // Larger than our own depth limit, because our message is the better one.
            flow_nesting_limit: 2 * MAX_DEPTH,
            block_nesting_limit: 2 * MAX_DEPTH,
        };
        let parser = Parser::new_from_str_with_options(text, options);
        Self { parser: Some(parser), refused: None, documents: 0 }
    }

    fn next_document(&mut self) -> Result<Option<Node>, Fault> {
        let outcome = self.refused.take().map_or_else(|| self.read_document(), Err);
        if outcome.is_err() {
            self.parser = None;
        }
        outcome
    }

    fn read_document(&mut self) -> Result<Option<Node>, Fault> {
        let mut builder = Builder::default();
        while let Some(event) = self.parser.as_mut().and_then(Parser::next_event) {
            let (event, span) = event.map_err(|error| syntax(&error))?;
            if let Some(document) = builder.take(event, span)? {
                self.documents += 1;
                return self.within_documents(document).map(Some);
            }
        }
        Ok(None)
    }

    fn within_documents(&self, document: Node) -> Result<Node, Fault> {
        if self.documents > MAX_DOCUMENTS {
            let reason = format!("the file holds more than {MAX_DOCUMENTS} documents");
            return Err(whole(document.line, &reason, "split the file"));
        }
        Ok(document)
    }
}

fn whole(line: usize, reason: &str, remedy: &str) -> Fault {
    Fault::new(line, "document", reason, remedy)
}

fn too_deep(line: usize) -> Fault {
    whole(line, &format!("it is nested deeper than {MAX_DEPTH} levels"), "flatten it")
}

fn syntax(error: &ScanError) -> Fault {
    let line = error.marker().line();
    match error.kind() {
        ErrorKind::RecursionLimitExceeded => too_deep(line),
        _ => whole(line, &error.info(), "correct the YAML"),
    }
}

/// One document while it is built.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: BTreeMap<usize, Node>,
    /// The line of the document's first event.
    start: Option<usize>,
    nodes: usize,
    aliases: usize,
}

struct Open {
    line: usize,
    anchor: usize,
    holds: Holds,
}

enum Holds {
    Items(Vec<Node>),
    Pairs { pairs: Vec<(Key, Node)>, known: BTreeSet<String>, key: Option<Key> },
}

impl Builder {
    /// Takes the next event. Returns the document when it is complete.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, Fault> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(..) => self.start = Some(span.start.index()),
            Event::DocumentEnd => return Ok(self.root.take()),
            Event::Scalar(text, style, anchor, tag) => {
                let node = Node::leaf(line, Scalar::new(text, style, tag.as_deref(), line));
                self.place(node, anchor, line)?;
            }
            Event::SequenceStart(_, anchor, _) => self.begin(line, anchor, Holds::Items(Vec::new()))?,
            Event::MappingStart(_, anchor, _) => {
                let holds = Holds::Pairs { pairs: Vec::new(), known: BTreeSet::new(), key: None };
                self.begin(line, anchor, holds)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(line)?,
            Event::Alias(id) => self.alias(id, line)?,
            _ => {}
        }
        self.within_bytes(span)?;
        Ok(None)
    }

    fn within_bytes(&self, span: Span) -> Result<(), Fault> {
        if self.start.is_some_and(|start| span.end.index().saturating_sub(start) > MAX_BYTES) {
            let reason = format!("it is longer than {MAX_BYTES} characters");
            return Err(whole(span.start.line(), &reason, "spread the objects over several classes"));
        }
        Ok(())
    }

    fn begin(&mut self, line: usize, anchor: usize, holds: Holds) -> Result<(), Fault> {
        self.within_depth(1, line)?;
        self.open.push(Open { line, anchor, holds });
        Ok(())
    }

    fn within_depth(&self, more: usize, line: usize) -> Result<(), Fault> {
        if self.open.len() + more > MAX_DEPTH {
            return Err(too_deep(line));
        }
        Ok(())
    }

    fn end(&mut self, line: usize) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = match open.holds {
            Holds::Items(items) => Value::List(items),
            Holds::Pairs { pairs, .. } => Value::Map(pairs),
        };
        // The children were counted when they were built.
        self.nodes = self.nodes.saturating_sub(children(&value));
        self.place(Node::branch(open.line, merged(value)), open.anchor, line)
    }

    fn alias(&mut self, id: usize, line: usize) -> Result<(), Fault> {
        self.aliases += 1;
        if self.aliases > MAX_ALIASES {
            let reason = format!("it has more than {MAX_ALIASES} aliases");
            return Err(whole(line, &reason, "write the values out"));
        }
        let Some(node) = self.anchors.get(&id).cloned() else {
            return Err(whole(line, "an alias stands inside its own anchor", "write the value out"));
        };
        self.place(node, 0, line)
    }

    fn place(&mut self, node: Node, anchor: usize, line: usize) -> Result<(), Fault> {
        self.within_depth(node.depth, line)?;
        self.nodes += node.nodes;
        if self.nodes > MAX_NODES {
            let reason = format!("it has more than {MAX_NODES} values");
            return Err(whole(line, &reason, "spread the objects over several classes"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(open) => open.holds.add(node)?,
        }
        Ok(())
    }
}

impl Holds {
    fn add(&mut self, node: Node) -> Result<(), Fault> {
        match self {
            Self::Items(items) => items.push(node),
            Self::Pairs { pairs, known, key } => match key.take() {
                Some(key) => pairs.push((key, node)),
                None => *key = Some(new_key(node, known)?),
            },
        }
        Ok(())
    }
}

fn new_key(node: Node, known: &mut BTreeSet<String>) -> Result<Key, Fault> {
    let line = node.line;
    let Value::Scalar(Scalar { text, .. }) = node.value else {
        return Err(whole(line, "a key is a list or a map", "write keys as text"));
    };
    if !known.insert(text.clone()) {
        return Err(Fault::new(line, text, "this key is there twice", "keep one of them"));
    }
    Ok(Key { text, line })
}

/// The same value with `<<` expanded. A map's own keys override merged keys.
fn merged(value: Value) -> Value {
    let Value::Map(pairs) = value else {
        return value;
    };
    let (merges, mut own): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(key, _)| key.text == "<<");
    let mut known: BTreeSet<String> = match merges.is_empty() {
        true => BTreeSet::new(),
        false => own.iter().map(|(key, _)| key.text.clone()).collect(),
    };
    for (_, source) in merges {
        let sources = if source.items().is_empty() { vec![source] } else { source.items().to_vec() };
        let pairs = sources.iter().flat_map(Node::pairs);
        own.extend(pairs.filter(|(key, _)| known.insert(key.text.clone())).cloned());
    }
    Value::Map(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Node, Fault> {
        documents(text).next().unwrap()
    }

    #[test]
    fn lines_of_a_block_are_lines_of_the_file() {
        let node = one("a: |\n  x\n  y\nb: |-  # why\n\n\n  z\nc: >\n  f\nd: 'q'\n").unwrap();
        let block = |key| match &node.get(key).unwrap().value {
            Value::Scalar(scalar) => scalar.block,
            _ => None,
        };
        assert_eq!((block("a"), block("b"), block("c"), block("d")), (Some(2), Some(5), None, None));
    }

    #[test]
    fn aliases_and_merge_keys_stand_for_what_they_name() {
        let node = one("base: &b {x: one, y: two}\nuse: {<<: *b, y: own}\nlist: [*b, *b]\n").unwrap();
        assert_eq!(node.at(&["use", "x"]).and_then(Node::text), Some("one"));
        assert_eq!(node.at(&["use", "y"]).and_then(Node::text), Some("own"));
        assert_eq!(node.get("list").unwrap().items().len(), 2);
    }

    #[test]
    fn several_documents_are_read_until_one_is_broken() {
        let all: Vec<_> = documents("a: b\n---\n---\nc: [\n").collect();
        assert_eq!(all.len(), 3);
        assert!(all[0].is_ok() && all[1].as_ref().is_ok_and(Node::is_null));
        assert_eq!(all[2].as_ref().unwrap_err().line, Some(4));
    }

    #[test]
    fn budgets_are_counts() {
        let refusal = |text: &str| one(text).unwrap_err().to_string();
        assert!(refusal(&format!("{}{}", "[".repeat(40), "]".repeat(40))).contains("deeper than 32"));
        assert!(refusal(&"- a\n".repeat(20_001)).contains("more than 20000 values"));
        assert!(refusal(&format!("- {}", "x".repeat(MAX_BYTES))).contains("longer than"));
        assert!(refusal(&"#".repeat(MAX_FILE + 1)).contains("split the file"));
        assert!(refusal(&format!("- &a x\n{}", "- *a\n".repeat(65))).contains("64 aliases"));
        assert!(one(&"- a\n".repeat(19_998)).is_ok());
        assert!(refusal(&"[".repeat(100_000)).contains("deeper than 32"));
    }

    #[test]
    fn a_file_may_be_longer_than_its_documents_may() {
        let document = format!("a: {}\n---\n", "x".repeat(1000));
        assert!(documents(&document.repeat(1000)).all(|document| document.is_ok()));
        assert_eq!(documents(&"# nothing\n".repeat(100_000)).count(), 0);

        let last = documents(&"---\n".repeat(20_000)).last().unwrap();
        assert!(last.unwrap_err().reason.contains("more than 10000 documents"));
    }

    #[test]
    fn aliases_of_aliases_do_not_multiply() {
        let mut text = String::from("l0: &l0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..6 {
            let below = vec![format!("*l{}", level - 1); 10].join(",");
            text.push_str(&format!("l{level}: &l{level} [{below}]\n"));
        }
        assert!(one(&text).unwrap_err().reason.contains("20000 values"));

        let deep = format!(
            "a: &a {}x{}\nb: &b {}*a{}",
            "[".repeat(20),
            "]".repeat(20),
            "[".repeat(20),
            "]".repeat(20)
        );
        assert!(one(&deep).unwrap_err().reason.contains("deeper"));
    }

    #[test]
    fn a_key_twice_is_refused_at_its_second_line() {
        let fault = one("a: b\nc: d\na: e\n").unwrap_err();
        assert_eq!((fault.line, fault.key.as_str()), (Some(3), "a"));
    }

    #[test]
    fn json_is_yaml() {
        let node = one("{\n\t\"a\": \"x\\ny\\ud83d\\ude00\",\n\t\"b\": [true]\n}\n").unwrap();
        assert_eq!(node.get("a").and_then(Node::text), Some("x\ny😀"));
        assert!(node.get("b").unwrap().items()[0].is_true());
    }

    #[test]
    fn quoted_and_tagged_scalars_are_text() {
        assert_eq!(one("a: !!str 5").unwrap().get("a").unwrap().text(), Some("5"));
        assert_eq!(one("a: \"5\"").unwrap().get("a").unwrap().text(), Some("5"));
    }
}
