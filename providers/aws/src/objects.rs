use std::collections::BTreeMap;

use manifest::fields::{self, filled};
use manifest::objects::{Asked, ObjectExtras, Position, read_with_trees};
use manifest::yaml::NumericMode;
use manifest::{JmesPath, JsonPart, Listing, Shape, WrittenTree, without};
use provider::{FileMode, Invalid, ObjectRef, Tree};
use serde::Deserialize;

use crate::arn::{Arn, is_arn};
use crate::call::{Blob, Call, Opened, Wanted};
use crate::declaration::DECLARATION;
use crate::listed::{self, ListingKeys};
use crate::opened;
use crate::parameters::Regions;
use crate::region::Service;
use crate::translation::Translation;

/// As upstream's provider reads them.
const LISTING: Listing = Listing { parameter: manifest::objects::PARAMETER, shape: Shape::Lenient };

/// One entry of `objects`, as written. An empty value is the same as none.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(flatten)]
    names: Names,
    #[serde(flatten)]
    listing: ListingKeys,
    object_type: Option<String>,
    object_alias: Option<String>,
    file_permission: Option<String>,
    failover_object: Option<Names>,
    ciphertext: Option<String>,
    ciphertext_from: Option<String>,
    kms_key: Option<String>,
    encryption_context: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    extras: ObjectExtras,
}

/// What names something in one region.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Names {
    object_name: Option<String>,
    object_version: Option<String>,
    object_version_label: Option<String>,
}

/// What holds for every object of a class.
#[derive(Debug)]
pub(crate) struct Around<'a> {
    pub(crate) regions: &'a Regions,
    pub(crate) translation: Translation,
    pub(crate) probe: bool,
}

/// Keys of objects that nobody reads. Upstream's provider passes over them, and so do we.
pub(crate) fn unknown(text: &str) -> Vec<Invalid> {
    fields::unknown_in(&LISTING, text, DECLARATION.object)
}

/// Understands `objects`.
pub(crate) fn read(text: &str, around: &Around<'_>) -> Result<(Vec<ObjectRef>, Vec<Tree>), Vec<Invalid>> {
    let understand = |at: Position<'_>, item: Item| {
        let is_listing = item.listing.is_any();
        let entry = Entry { at, item, around };
        if is_listing { entry.tree().map(Asked::Tree) } else { Ok(Asked::Objects(entry.objects()?, ())) }
    };
    let read = read_with_trees(&LISTING, text, DECLARATION.object, understand)?;
    Ok((read.objects, read.trees))
}

/// One entry on its way to be understood.
struct Entry<'a> {
    at: Position<'a>,
    item: Item,
    around: &'a Around<'a>,
}

impl Entry<'_> {
    fn objects(self) -> Result<Vec<ObjectRef>, Vec<Invalid>> {
        let one = |fault| vec![fault];
        let name = self.name().map_err(one)?.to_owned();
        if filled(&self.item.object_type) == Some(CIPHERTEXTS) {
            let call = self.opened(&name).map_err(one)?;
            return self.shown(name, &call);
        }
        self.is_not_opened().map_err(one)?;
        let service = self.service(&name, "objectType").map_err(one)?;
        let first = self.wanted(service, &self.item.names, "").map_err(one)?;
        let failover = self.failover(service, &first).map_err(one)?;
        let call = Call { service, first, failover, probe: self.probe(service), sought: None, opened: None };
        self.shown(name, &call)
    }

    /// The files of the object `name`, which `call` brings.
    fn shown(self, name: String, call: &Call) -> Result<Vec<ObjectRef>, Vec<Invalid>> {
        let one = |fault| vec![fault];
        let path =
            self.at.path(self.path_key(), &self.around.translation.of(self.file_name(&name))).map_err(one)?;
        let mode = self.mode().map_err(one)?;
        let Self { at, item, around } = self;
        let mut extras = item.extras;
        extras.jmes_path = extras.jmes_path.map(|jmes_path| translated(jmes_path, around.translation));
        extras.objects(at, name, path, mode, call.request())
    }

    /// What KMS decrypts, of the object `name`.
    fn opened(&self, name: &str) -> Result<Call, Invalid> {
        let Item { kms_key, encryption_context, failover_object, .. } = &self.item;
        without(self.at, &[("failoverObject", failover_object.is_some())])?;
        let ciphertext = self.blob(name)?;
        let region = self.around.regions.first.as_str();
        let key = filled(kms_key).map(|key| opened::key(key, region)).transpose();
        let key = key.map_err(|fault| self.at.refuse("kmsKey", &fault.reason, &fault.remedy))?;
        let context = encryption_context.clone().unwrap_or_default();
        Ok(opened::call(key, Opened { ciphertext, context }))
    }

    /// The ciphertext: the class's own, or what the object `name` of another service holds.
    fn blob(&self, name: &str) -> Result<Blob, Invalid> {
        let Item { names, ciphertext, ciphertext_from, .. } = &self.item;
        let stored = filled(ciphertext_from);
        if stored.is_some() {
            without(self.at, &[("ciphertext", ciphertext.is_some())])?;
            let service = self.service(name, "ciphertextFrom")?;
            return Ok(Blob::In(service, self.wanted(service, names, "")?));
        }
        let keys = [
            ("objectVersion", filled(&names.object_version).is_some()),
            ("objectVersionLabel", filled(&names.object_version_label).is_some()),
        ];
        without(self.at, &keys)?;
        let text: String = ciphertext.iter().flat_map(|text| text.split_ascii_whitespace()).collect();
        if opened::is_ciphertext(&text) {
            return Ok(Blob::Written(text));
        }
        let remedy = "write the CiphertextBlob that `aws kms encrypt` prints, or ciphertextFrom";
        Err(self.at.refuse("ciphertext", "it is no ciphertext of KMS in base64", remedy))
    }

    /// Nothing else has the keys of a ciphertext.
    fn is_not_opened(&self) -> Result<(), Invalid> {
        let Item { ciphertext, ciphertext_from, kms_key, encryption_context, .. } = &self.item;
        let is_any = ciphertext.is_some()
            || ciphertext_from.is_some()
            || kms_key.is_some()
            || encryption_context.is_some();
        if is_any {
            Err(self.at.refuse("objectType", "what has a ciphertext is of kms", "write kms"))
        } else {
            Ok(())
        }
    }

    /// What a listing asks for: in the failover region the same.
    fn tree(self) -> Result<Tree, Vec<Invalid>> {
        let one = |fault| vec![fault];
        let listing = self.item.listing.listing(self.at).map_err(one)?;
        self.is_only(&listing).map_err(one)?;
        let mode = self.mode().map_err(one)?;
        let written = WrittenTree {
            name: listing.name.clone(),
            address: String::new(),
            directory: self.item.listing.directory.as_deref(),
            most: self.item.listing.most(),
            mode,
            extras: self.item.extras.clone(),
        };
        let (first, service) =
            (Wanted { id: listing.id.clone(), version: None, label: None }, listing.service);
        let call = Call {
            service,
            failover: self.around.regions.of(true).map(|_| first.clone()),
            first,
            probe: self.probe(service),
            sought: Some(listing.sought(written.most(self.at).map_err(one)?)),
            opened: None,
        };
        written.tree(self.at, call.request(), listing.least_calls())
    }

    /// A listing has none of the keys that are about one object.
    fn is_only(&self, listing: &listed::Listing) -> Result<(), Invalid> {
        let Item { names, object_alias, failover_object, object_type, .. } = &self.item;
        let Names { object_name, object_version, object_version_label } = names;
        let keys = [
            ("objectName", filled(object_name).is_some()),
            ("objectAlias", filled(object_alias).is_some()),
            ("objectVersion", filled(object_version).is_some()),
            ("objectVersionLabel", filled(object_version_label).is_some()),
            ("failoverObject", failover_object.is_some()),
        ];
        without(self.at, &keys)?;
        match filled(object_type) {
            Some(given) if given != type_of(listing.service) => {
                let reason = format!("such a listing is of {}", type_of(listing.service));
                Err(self.at.refuse("objectType", &reason, "remove it"))
            }
            _ => Ok(()),
        }
    }

    fn probe(&self, service: Service) -> bool {
        self.around.probe && service == Service::SecretsManager
    }

    fn name(&self) -> Result<&str, Invalid> {
        let name = filled(&self.item.names.object_name);
        name.ok_or_else(|| {
            self.at.refuse("objectName", "it is missing", "write the name or the ARN of a secret")
        })
    }

    fn file_name<'n>(&'n self, name: &'n str) -> &'n str {
        filled(&self.item.object_alias).unwrap_or(name)
    }

    /// Which of the two keys the file is named by.
    fn path_key(&self) -> &'static str {
        if filled(&self.item.object_alias).is_some() { "objectAlias" } else { "objectName" }
    }

    /// The service of the object `name`, which `key` names if no ARN does.
    fn service(&self, name: &str, key: &str) -> Result<Service, Invalid> {
        let of_arn = match is_arn(name) {
            true => Some(self.arn("objectName", name)?.service),
            false => None,
        };
        let is_type = key == "objectType";
        let types = if is_type { TYPES } else { HOLDERS };
        let written = if is_type { &self.item.object_type } else { &self.item.ciphertext_from };
        let given = match filled(written) {
            None => None,
            Some(SECRETS) => Some(Service::SecretsManager),
            Some(PARAMETERS) => Some(Service::Ssm),
            Some(_) => return Err(self.at.refuse(key, "it is none we know", types)),
        };
        match (given, of_arn) {
            (Some(given), Some(of_arn)) if given != of_arn => {
                Err(self.at.refuse(key, "it is not what the ARN in objectName is of", "correct it"))
            }
            (given, of_arn) => given.or(of_arn).ok_or_else(|| {
                self.at.refuse(key, "it is missing, and objectName is no ARN that would tell it", types)
            }),
        }
    }

    fn arn<'n>(&self, key: &str, raw: &'n str) -> Result<Arn<'n>, Invalid> {
        Arn::new(raw).map_err(|reason| {
            self.at.refuse(
                key,
                reason,
                "write it as arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-SUFFIX",
            )
        })
    }

    /// What `names` ask for; `below` is what their keys stand below.
    fn wanted(&self, service: Service, names: &Names, below: &str) -> Result<Wanted, Invalid> {
        let Names { object_name, object_version, object_version_label } = names;
        let refuse =
            |key: &str, reason, remedy| Err(self.at.refuse(&format!("{below}{key}"), reason, remedy));
        let key = format!("{below}objectName");
        let id = filled(object_name).unwrap_or_default();
        if id.contains(char::is_control) {
            return refuse("objectName", "it has a control character", "write the name or the ARN");
        }
        let region = self.around.regions.of(!below.is_empty());
        if is_arn(id) && Some(self.arn(&key, id)?.region) != region {
            return refuse(
                "objectName",
                "its ARN is of another region",
                "write an ARN of the class's region",
            );
        }
        let (version, label) = (filled(object_version), filled(object_version_label));
        if service == Service::Ssm && version.is_some() && label.is_some() {
            return refuse("objectVersion", "a parameter has objectVersionLabel too", "keep one of them");
        }
        let is_number = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
        if service == Service::Ssm && !version.is_none_or(is_number) {
            return refuse(
                "objectVersion",
                "a parameter's version is a number",
                "write a number, such as \"3\"",
            );
        }
        let [version, label] = [version, label].map(|text| text.map(str::to_owned));
        Ok(Wanted { id: id.to_owned(), version, label })
    }

    /// The same in the other region: what failoverObject says, else what has the same name there. An ARN is of one
    /// region.
    fn failover(&self, service: Service, first: &Wanted) -> Result<Option<Wanted>, Invalid> {
        let Some(names) = &self.item.failover_object else {
            let has_other = self.around.regions.of(true).is_some() && !is_arn(&first.id);
            return Ok(has_other.then(|| first.clone()));
        };
        let refuse = |reason, remedy| Err(self.at.refuse("failoverObject", reason, remedy));
        if self.around.regions.of(true).is_none() {
            return refuse("the class has no failoverRegion", "set failoverRegion, or remove it");
        }
        if filled(&self.item.object_alias).is_none() {
            return refuse("the object has no objectAlias", "name the file of both by objectAlias");
        }
        if filled(&names.object_name).is_none() {
            return refuse("its objectName is missing", "write the name or the ARN in the failover region");
        }
        let other = self.wanted(service, names, "failoverObject.")?;
        if is_arn(&other.id) && self.arn("failoverObject.objectName", &other.id)?.service != service {
            return refuse("it is of another objectType", "write an ARN of the same service");
        }
        if other.version != first.version {
            return refuse("its objectVersion is another", "write the same objectVersion for both");
        }
        Ok(Some(other))
    }

    /// Text of four octal digits: a bare 0644 would be the number 420 here.
    fn mode(&self) -> Result<Option<NumericMode>, Invalid> {
        let Some(text) = filled(&self.item.file_permission) else { return Ok(None) };
        let is_octal = text.len() == 4 && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let bits = u64::from_str_radix(text, 8).ok().filter(|_| is_octal);
        let mode = bits.and_then(|bits| FileMode::try_from(bits).ok()).map(NumericMode);
        let refused = || {
            let remedy = "write four octal digits in quotes, between \"0000\" and \"0777\", such as \"0400\"";
            self.at.refuse("filePermission", "it is no file mode in quotes", remedy)
        };
        mode.map(Some).ok_or_else(refused)
    }
}

/// `objectType` of secrets and of parameters.
const SECRETS: &str = "secretsmanager";
const PARAMETERS: &str = "ssmparameter";
/// `objectType` of what KMS decrypts.
const CIPHERTEXTS: &str = "kms";

fn type_of(service: Service) -> &'static str {
    if service == Service::Ssm { PARAMETERS } else { SECRETS }
}

const TYPES: &str = "write secretsmanager, ssmparameter or kms";
const HOLDERS: &str = "write secretsmanager or ssmparameter";

/// The files of parts are named as those of objects are.
fn translated(jmes_path: JmesPath, translation: Translation) -> JmesPath {
    match jmes_path {
        JmesPath::Whole(expression) => JmesPath::Whole(expression),
        JmesPath::Parts(parts) => JmesPath::Parts(
            parts
                .into_iter()
                .map(|part| JsonPart { object_alias: translation.of(&part.object_alias), ..part })
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests;
