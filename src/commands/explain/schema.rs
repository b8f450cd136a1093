//! A JSON schema (draft 2020-12) of a SecretProviderClass, for editors. A schema cannot look inside the text of a
//! parameter such as `objects`. Only `secretfs check` checks that.

use manifest::declaration::{CLASS, SECRET_DATA, SECRET_OBJECT, SETTINGS};
use manifest::{PREFIX, SHARED_WITH_PROVIDERS};
use provider::{Declaration, Holds, Key};
use serde_json::{Map, Value, json};

use crate::providers::DECLARATIONS;

/// The schema. It accepts objects of other kinds, because they may be in the same file.
pub(super) fn schema() -> Value {
    let mut definitions: Map<_, _> = DECLARATIONS.iter().map(|of| (definition(of), parameters(of))).collect();
    definitions.insert("class".to_owned(), class());
    definitions.insert("settings".to_owned(), settings());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "SecretProviderClass",
        "description": "A class of secretfs. `secretfs check` judges the texts in it as well.",
        "if": {"properties": {"kind": {"const": "SecretProviderClass"}}, "required": ["kind"]},
        "then": {"$ref": "#/$defs/class"},
        "$defs": definitions,
    })
}

fn definition(declaration: &Declaration) -> String {
    format!("parameters-{}", declaration.label())
}

fn class() -> Value {
    let mut class = object(below(""));
    insert(&mut class, "/properties", "metadata", object(below("metadata.")));
    insert(&mut class, "/properties", "spec", spec());
    insert(&mut class, "", "required", json!(["apiVersion", "kind", "metadata", "spec"]));
    class
}

/// The keys of the resource directly below `prefix`.
fn below(prefix: &'static str) -> impl Iterator<Item = (&'static str, &'static Key)> + Clone {
    CLASS.iter().filter_map(move |key| {
        let name = key.name.strip_prefix(prefix).filter(|name| !name.contains('.'))?;
        Some((name, key))
    })
}

fn spec() -> Value {
    let settings = json!({"properties": {"parameters": {"$ref": "#/$defs/settings"}}});
    let rules: Vec<_> = [settings].into_iter().chain(DECLARATIONS.iter().map(|of| of_provider(of))).collect();
    let mut spec = object(below("spec."));
    let built_in: Vec<_> = DECLARATIONS.iter().flat_map(|of| of.names).collect();
    insert(&mut spec, "/properties/provider", "examples", json!(built_in));
    insert(&mut spec, "/properties/parameters", "minProperties", 1.into());
    insert(&mut spec, "/properties/secretObjects", "items", secret_object());
    insert(&mut spec, "", "allOf", rules.into());
    spec
}

fn of_provider(declaration: &Declaration) -> Value {
    json!({
        "if": {"properties": {"provider": {"enum": declaration.names}}, "required": ["provider"]},
        "then": {"properties": {"parameters": {"$ref": format!("#/$defs/{}", definition(declaration))}}},
    })
}

fn secret_object() -> Value {
    let mut secret = object(SECRET_OBJECT.iter().map(|key| (key.name, key)));
    insert(&mut secret, "/properties/data", "minItems", 1.into());
    insert(&mut secret, "/properties/data", "items", object(SECRET_DATA.iter().map(|key| (key.name, key))));
    secret
}

/// Inserts `value` under `name` into the map at `pointer`.
fn insert(schema: &mut Value, pointer: &str, name: &str, value: Value) {
    if let Some(map) = schema.pointer_mut(pointer).and_then(Value::as_object_mut) {
        map.insert(name.to_owned(), value);
    }
}

/// The settings. Other keys with the same prefix are refused.
fn settings() -> Value {
    let names: Vec<_> = SETTINGS.iter().map(|key| key.name).collect();
    let properties: Map<_, _> = SETTINGS.iter().map(|key| (key.name.to_owned(), value(key))).collect();
    json!({
        "properties": properties,
        "propertyNames": {"if": {"pattern": format!("^{}", PREFIX.replace('.', "\\."))}, "then": {"enum": names}},
    })
}

/// The parameters of a provider, and the settings that only secretfs reads.
fn parameters(declaration: &'static Declaration) -> Value {
    let mut parameters = object(declaration.parameters.iter().map(|key| (key.name, key)));
    for other in SETTINGS.iter().filter(|key| !SHARED_WITH_PROVIDERS.contains(&key.name)) {
        insert(&mut parameters, "/properties", other.name, true.into());
    }
    insert(&mut parameters, "", "additionalProperties", false.into());
    parameters
}

fn object(keys: impl Iterator<Item = (&'static str, &'static Key)> + Clone) -> Value {
    let properties: Map<_, _> = keys.clone().map(|(name, key)| (name.to_owned(), value(key))).collect();
    let required: Vec<_> = keys.filter(|(_, key)| key.is_required).map(|(name, _)| name).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn value(key: &Key) -> Value {
    let mut schema = held(key.holds);
    insert(&mut schema, "", "description", description(key).into());
    if key.older_than.is_some() {
        insert(&mut schema, "", "deprecated", true.into());
    }
    schema
}

fn description(key: &Key) -> String {
    let default = key.default.map(|default| format!(" Default: {default}."));
    let older = key.older_than.map(|newer| format!(" An older name of {newer}."));
    format!("{}{}{}", key.meaning, default.unwrap_or_default(), older.unwrap_or_default())
}

fn held(holds: Holds) -> Value {
    match holds {
        Holds::Map => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Holds::List => json!({"type": "array"}),
        Holds::TextOrList => json!({"type": ["string", "array"]}),
        Holds::Boolean => json!({"type": "boolean"}),
        Holds::Number | Holds::Mode => json!({"type": "integer", "minimum": 0}),
        Holds::Choice(choices) => json!({"enum": choices}),
        Holds::Form { pattern, .. } => json!({"type": "string", "pattern": pattern}),
        Holds::Text | Holds::TextOnly | Holds::Authorities | Holds::ClientFile | Holds::Objects => {
            json!({"type": "string"})
        }
    }
}
