//! A manifest file as a tree in which each value has its line. Serde's types have no lines.

mod build;
mod scalar;

pub(crate) use build::documents;
pub(crate) use scalar::{Kind, Scalar};

/// A value and the line on which it begins.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
    /// The levels below this node, and the number of all nodes. An alias counts as much as the value that it stands
    /// for.
    depth: usize,
    nodes: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Node {
    fn leaf(line: usize, scalar: Scalar) -> Self {
        Self { line, value: Value::Scalar(scalar), depth: 0, nodes: 1 }
    }

    fn branch(line: usize, value: Value) -> Self {
        let depth = match &value {
            Value::Scalar(_) => None,
            Value::List(items) => items.iter().map(|node| node.depth).max(),
            Value::Map(pairs) => pairs.iter().map(|(_, node)| node.depth).max(),
        };
        Self { line, depth: depth.unwrap_or(0) + 1, nodes: children(&value) + 1, value }
    }

    /// The value under `key`, if this is a map that has one.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.pairs().iter().find(|(own, _)| own.text == key).map(|(_, node)| node)
    }

    /// The value at the path `keys`.
    pub(crate) fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The entries, if this is a map; otherwise none.
    pub(crate) fn pairs(&self) -> &[(Key, Self)] {
        match &self.value {
            Value::Map(pairs) => pairs,
            Value::Scalar(_) | Value::List(_) => &[],
        }
    }

    /// The elements, if this is a list; otherwise none.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            Value::Scalar(_) | Value::Map(_) => &[],
        }
    }

    /// The text, if this is a string, and not a number, boolean or null.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if scalar.kind == Kind::Text => Some(&scalar.text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.kind == Kind::Null)
    }

    pub(crate) fn is_true(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.kind == Kind::Bool && scalar.text == "true")
    }

    /// The type of the value, for messages.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            Value::Scalar(scalar) => match scalar.kind {
                Kind::Null => "empty".to_owned(),
                Kind::Bool => format!("the boolean {}", scalar.text),
                Kind::Number => format!("the number {}", scalar.text),
                Kind::Text => "text".to_owned(),
            },
        }
    }
}

/// The number of nodes below `value`, keys included.
fn children(value: &Value) -> usize {
    match value {
        Value::Scalar(_) => 0,
        Value::List(items) => items.iter().map(|node| node.nodes).sum(),
        Value::Map(pairs) => pairs.iter().map(|(_, node)| node.nodes + 1).sum(),
    }
}
