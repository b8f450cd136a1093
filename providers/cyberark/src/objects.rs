//! Parses the `objects` of a class.

use manifest::objects::{self, ObjectExtras, Position};
use manifest::yaml::NumericMode;
use provider::{Invalid, ObjectRef};
use serde::Deserialize;

use crate::declaration::DECLARATION;
use crate::query::Search;

/// The property that is the password.
pub(crate) const CONTENT: &str = "Content";
/// Longest text of a search.
const LONGEST: usize = 2048;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    object_name: String,
    safe: Option<String>,
    folder: Option<String>,
    object: Option<String>,
    user_name: Option<String>,
    address: Option<String>,
    database: Option<String>,
    policy_id: Option<String>,
    query: Option<String>,
    property: Option<String>,
    file_permission: Option<NumericMode>,
    #[serde(flatten)]
    extras: ObjectExtras,
}

/// The objects that `text` lists, each with the property that it shows. `safe` is that of objects that name none.
///
/// # Errors
///
/// Every fault.
pub(crate) fn read(text: &str, safe: Option<&str>) -> Result<(Vec<ObjectRef>, Vec<String>), Vec<Invalid>> {
    objects::read(text, DECLARATION.object, |at, written| understand(at, written, safe))
}

fn understand(
    at: Position<'_>,
    written: Written,
    safe: Option<&str>,
) -> Result<(Vec<ObjectRef>, String), Vec<Invalid>> {
    let mut faults: Vec<_> = at.undeclared().collect();
    let search = search(at, &written, safe).map_err(|fault| faults.push(fault)).ok();
    let request = search.and_then(|search| search.request());
    let Written { object_name, property, file_permission, extras, .. } = written;
    match (at.path("objectName", &object_name), request) {
        (Ok(path), Some(request)) if faults.is_empty() => {
            let objects = extras.objects(at, object_name, path, file_permission, request)?;
            let property = property.filter(|name| !name.is_empty()).unwrap_or_else(|| CONTENT.to_owned());
            Ok((objects, property))
        }
        (path, _) => {
            faults.extend(path.err());
            Err(faults)
        }
    }
}

fn search(at: Position<'_>, written: &Written, safe: Option<&str>) -> Result<Search, Invalid> {
    let parts = [
        ("Folder", &written.folder),
        ("Object", &written.object),
        ("UserName", &written.user_name),
        ("Address", &written.address),
        ("Database", &written.database),
        ("PolicyID", &written.policy_id),
    ];
    let own = written.safe.as_deref().or(safe).filter(|safe| !safe.is_empty());
    let named = parts.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    let named: Vec<_> = named.filter(|(_, value)| !value.is_empty()).collect();
    let query = written.query.as_deref().filter(|query| !query.is_empty());
    let parts: Vec<(&str, &str)> = match (query, own) {
        (Some(_), _) if !named.is_empty() || written.safe.is_some() => {
            return Err(at.refuse("query", "the account is named by other keys too", "keep one of both"));
        }
        (Some(query), _) => vec![("Query", query)],
        (None, Some(_)) if named.iter().all(|(name, _)| *name == "Folder") => {
            return Err(at.refuse("object", "it is missing", "name the account, or write a query"));
        }
        (None, Some(safe)) => std::iter::once(("Safe", safe)).chain(named).collect(),
        (None, None) => {
            return Err(at.refuse("safe", "it is missing", "write it here or once for the class"));
        }
    };
    if parts.iter().any(|(_, value)| value.len() > LONGEST || value.contains(char::is_control)) {
        return Err(at.refuse("object", "it is too long, or has a control character", "write its name"));
    }
    Ok(Search(parts.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searches(text: &str) -> Vec<String> {
        let (objects, _) = read(text, Some("Shop")).unwrap();
        objects.iter().map(|object| Search::of_request(&object.request).unwrap().to_string()).collect()
    }

    #[test]
    fn an_account_is_named_by_its_parts_or_by_a_query() {
        let text = "- {objectName: a, object: db}\n\
                    - {objectName: b, object: db, property: UserName, filePermission: 0400}\n\
                    - {objectName: c, safe: Other, folder: Root, userName: u, address: h, database: d, policyId: p}\n\
                    - {objectName: d, query: Safe=Shop;Object=db}\n";
        assert_eq!(
            searches(text),
            [
                "Safe=Shop;Object=db",
                "Safe=Shop;Object=db",
                "Safe=Other;Folder=Root;UserName=u;Address=h;Database=d;PolicyID=p",
                "Query=Safe=Shop;Object=db",
            ]
        );
        let (objects, properties) = read(text, Some("Shop")).unwrap();
        assert_eq!(objects[0].request, objects[1].request, "one call for two properties");
        assert_eq!(properties[..2], ["Content", "UserName"]);
    }

    #[test]
    fn what_names_no_account_or_two_ways_at_once_is_told() {
        for (text, key) in [
            ("- {objectName: a}", "object"),
            ("- {objectName: a, folder: Root}", "object"),
            ("- {objectName: a, object: b, query: c}", "query"),
            ("- {objectName: a, safe: b, query: c}", "query"),
            ("- {objectName: a, object: \"a\\nb\"}", "object"),
            ("- {objectName: ../a, object: b}", "objectName"),
            ("- {objectName: a, object: b, sfae: c}", "sfae"),
        ] {
            let told = read(text, Some("Shop")).unwrap_err();
            assert!(told[0].key.ends_with(key), "{text}: {told:?}");
        }
        assert!(read("- {objectName: a, object: b}", None).unwrap_err()[0].key.ends_with("safe"));
    }
}
