//! Objects of a class that are listings: the secrets of a vault that have certain tags.

use manifest::fields::filled;
use manifest::objects::Position;
use manifest::{Tags, WrittenTree, without};
use provider::{Invalid, Tree};

use crate::call::{Call, Kind, Sought};
use crate::objects::{Around, Entry, Item, Named, NoVault};
use crate::parameters::OnExpired;

impl Item {
    /// Whether it has a key of listings.
    pub(crate) fn is_listing(&self) -> bool {
        filled(&self.by_tags).or(filled(&self.directory)).is_some() || self.max_files.is_some()
    }

    /// Refuses keys that are about one object.
    fn is_only_a_listing(&self, at: Position<'_>) -> Result<(), Invalid> {
        let is_there = |text| filled(text).is_some();
        let is_other = self.object_type.as_deref().is_some_and(|kind| !matches!(kind, "" | "secret"));
        let keys = [
            ("objectName", is_there(&self.object_name)),
            ("objectAlias", is_there(&self.object_alias)),
            ("objectType", is_other),
            ("objectVersion", is_there(&self.object_version)),
            ("objectVersionHistory", self.object_version_history.is_some_and(|older| older > 0)),
            ("objectFormat", is_there(&self.object_format)),
        ];
        without(at, &keys)
    }
}

impl Entry<'_> {
    /// What the entry lists.
    ///
    /// # Errors
    ///
    /// What is wrong with its keys.
    pub(crate) fn tree<F>(&self, around: &Around<F>) -> Result<Tree, Vec<Invalid>>
    where
        F: Fn(Named<'_>) -> Result<String, NoVault>,
    {
        let one = |fault| vec![fault];
        let tags = self.tags().map_err(one)?;
        let mode = self.mode().map_err(one)?;
        let vault = (around.vault)(self.vault())
            .map_err(|(key, reason, remedy)| vec![self.at.refuse(key, &reason, remedy)])?;
        let written = WrittenTree {
            name: format!("secrets with tags {tags}"),
            address: vault.clone(),
            directory: filled(&self.item.directory),
            most: self.item.max_files,
            mode,
            extras: self.written_extras(),
        };
        let most = written.most(self.at).map_err(one)?;
        let drops_expired = around.on_expired == OnExpired::Remove;
        let sought = Some(Sought { tags, most, drops_expired });
        let call = Call { vault, kind: Kind::Secret, name: String::new(), version: None, age: None, sought };
        written.tree(self.at, call.request(), LEAST_CALLS)
    }

    fn tags(&self) -> Result<Tags, Invalid> {
        self.item.is_only_a_listing(self.at)?;
        let refuse = |key, reason, remedy| Err(self.at.refuse(key, reason, remedy));
        match Tags::parse(self.item.by_tags.as_deref().unwrap_or_default()) {
            Ok(tags) if !tags.is_empty() => Ok(tags),
            Ok(_) => refuse("byTags", "it is missing", "write the tags of the secrets, such as team=shop"),
            Err(reason) => refuse("byTags", reason, "write it as team=shop,stage=prod"),
        }
    }
}

/// One page, and one value.
const LEAST_CALLS: usize = 2;

#[cfg(test)]
mod tests {
    use crate::objects::{Around, read};
    use crate::parameters::OnExpired;

    fn trees(keys: &str) -> Result<Vec<provider::Tree>, Vec<String>> {
        let vault = |_: crate::objects::Named<'_>| Ok("https://kv".to_owned());
        let around = Around { vault, separate_files: false, on_expired: OnExpired::Remove };
        let read = read(&format!("array:\n- '{{{keys}}}'\n"), &around);
        read.map(|read| read.trees).map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_listing_is_of_secrets_by_their_tags() {
        let trees =
            trees("byTags: \"team=shop,public\", directory: keys, maxFiles: 7, encoding: hex").unwrap();

        assert_eq!(
            &*trees[0].request.text,
            r#"{"vault":"https://kv","kind":"secret","name":"","sought":{"tags":{"public":null,"team":"shop"},"most":7,"drops_expired":true}}"#
        );
        assert_eq!((trees[0].directory.as_str(), trees[0].encoding), ("keys", provider::Encoding::Hex));
    }

    #[test]
    fn what_is_wrong_with_a_listing_is_told_by_its_key() {
        for (keys, key) in [
            ("byTags: team=shop", "objects[0].directory"),
            ("directory: a", "objects[0].byTags"),
            ("byTags: \"=\", directory: a", "objects[0].byTags"),
            ("byTags: team, directory: a, maxFiles: 2000", "objects[0].maxFiles"),
            ("byTags: team, directory: a, objectName: b", "objects[0].objectName"),
            ("byTags: team, directory: a, objectType: cert", "objects[0].objectType"),
            ("byTags: team, directory: a, objectVersionHistory: 3", "objects[0].objectVersionHistory"),
            ("byTags: team, directory: a, default: b", "objects[0].default"),
        ] {
            let told = trees(keys).unwrap_err();
            assert!(told[0].contains(key), "{keys}: {told:?}");
        }
    }
}
