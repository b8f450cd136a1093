use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use sys::SecretBox;
use zeroize::Zeroizing;

use crate::shares::{Counts, leaves_room};
use crate::tenant::current_tenant;

/// Secret bytes: shared, never printed, and wiped when the last holder drops them.
///
/// They are in memory that neither the kernel nor another process can read (`memfd_secret`), as far as the kernel has
/// that, this process may lock so much, and the [tenant](crate::for_tenant) for whom they are made leaves room for
/// others. Else they are in ordinary memory.
///
/// The type has no `Display`, `Serialize` or `PartialEq`. So a secret cannot reach a log line, a status object or a
/// variable-time comparison by accident.
#[derive(Clone)]
pub struct SecretBytes {
    whole: Arc<Memory>,
    range: Range<usize>,
}

enum Memory {
    /// The charge goes behind the bytes.
    Secret {
        bytes: SecretBox,
        _charge: Charge,
    },
    Ordinary(Zeroizing<Vec<u8>>),
}

/// Bytes of secret memory that each tenant has; `None` is this process itself.
type Charges = Counts<Option<Arc<str>>>;

static CHARGES: LazyLock<Mutex<Charges>> = LazyLock::new(Mutex::default);

fn charges() -> MutexGuard<'static, Charges> {
    CHARGES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a tenant has of secret memory. It is given back on drop.
struct Charge {
    tenant: Option<Arc<str>>,
    bytes: usize,
}

impl Charge {
    /// Takes so many bytes of `most` for whom this thread works for. `None` where others need what is left.
    fn take(bytes: usize, most: usize) -> Option<Self> {
        let (tenant, mut charges) = (current_tenant(), charges());
        leaves_room(charges.of(&tenant), charges.total(), bytes, most).then(|| {
            charges.add(tenant.clone(), bytes);
            Self { tenant, bytes }
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        charges().give_back(&self.tenant, self.bytes);
    }
}

impl Memory {
    /// Copies `bytes` to secret memory, if there is a share of it for whom this thread works for.
    fn secret(bytes: &[u8]) -> Option<Self> {
        let charge = Charge::take(SecretBox::size(bytes.len()), SecretBox::most())?;
        Some(Self::Secret { bytes: SecretBox::new(bytes)?, _charge: charge })
    }

    fn expose(&self) -> &[u8] {
        match self {
            Self::Secret { bytes, .. } => bytes.expose(),
            Self::Ordinary(bytes) => bytes,
        }
    }
}

impl SecretBytes {
    /// Takes ownership of `bytes`. Where they are copied, what they were in is wiped.
    pub fn new(bytes: Vec<u8>) -> Self {
        let (range, bytes) = (0..bytes.len(), Zeroizing::new(bytes));
        let memory = Memory::secret(&bytes).unwrap_or(Memory::Ordinary(bytes));
        Self { whole: Arc::new(memory), range }
    }

    /// The part in `range`, if the bytes are that long. It shares the memory, which is wiped with the last part.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        self.expose().get(range.clone())?;
        let range = self.range.start + range.start..self.range.start + range.end;
        Some(Self { whole: Arc::clone(&self.whole), range })
    }

    /// The bytes themselves. Every use of this name is a place to review.
    pub fn expose(&self) -> &[u8] {
        self.whole.expose().get(self.range.clone()).unwrap_or_default()
    }

    /// The bytes as text, if they are UTF-8. Every use of this name is a place to review.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(self.expose()).ok()
    }

    /// Whether another holder has these bytes too. If not, they are wiped when this is dropped.
    pub fn is_held_elsewhere(&self) -> bool {
        Arc::strong_count(&self.whole) > 1
    }

    /// Length in bytes. Not secret: `stat` shows it as the size of the file.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether the length is 0.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<String> for SecretBytes {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::as_tenant;

    #[test]
    fn a_tenant_with_many_secrets_leaves_secret_memory_for_others_and_gives_back_what_it_drops() {
        let (most, name) = (100 << 40, |name: &str| Some(Arc::from(name)));
        let take = |tenant: &str| as_tenant(name(tenant), || Charge::take(1 << 40, most));
        let greedy: Vec<Charge> = std::iter::from_fn(|| take("greedy")).collect();
        // Other tests of this program have a few bytes.
        assert!((49..=50).contains(&greedy.len()), "{}", greedy.len());

        let quiet: Vec<Charge> = std::iter::from_fn(|| take("quiet")).collect();
        assert!((24..=25).contains(&quiet.len()), "{}", quiet.len());
        drop(greedy);
        assert!(take("greedy").is_some());
        drop(quiet);
        let left = |tenant: &str| charges().of(&name(tenant));
        assert_eq!([left("greedy"), left("quiet")], [0, 0]);
    }

    #[test]
    fn a_secret_takes_the_share_of_the_tenant_for_whom_it_was_made_until_its_last_part_goes() {
        let tenant = Some(Arc::from("shares"));
        let secret = as_tenant(tenant.clone(), || SecretBytes::new(b"hunter2".to_vec()));
        let part = secret.slice(1..2).unwrap();
        drop(secret);
        let is_secret = matches!(*part.whole, Memory::Secret { .. });
        assert_eq!(charges().of(&tenant), if is_secret { SecretBox::size(7) } else { 0 });

        drop(part);
        assert_eq!(charges().of(&tenant), 0);
    }

    #[test]
    fn debug_shows_the_length_and_not_the_bytes() {
        let secret = SecretBytes::new(b"hunter2".to_vec());
        assert_eq!(format!("{secret:?}"), "SecretBytes(7 bytes)");
    }

    #[test]
    fn who_holds_bytes_or_a_part_of_them_keeps_them_from_being_wiped() {
        let secret = SecretBytes::new(b"hunter2".to_vec());
        let part = secret.slice(1..2).unwrap();
        assert!(secret.is_held_elsewhere());
        drop(part);
        assert!(!secret.is_held_elsewhere());
    }

    #[test]
    fn a_part_of_a_part_is_a_part_and_nothing_is_beyond_the_end() {
        let secret = SecretBytes::new(b"hunter2".to_vec());
        let part = secret.slice(1..6).unwrap();
        assert_eq!(part.slice(1..3).unwrap().expose(), b"nt");
        assert_eq!((part.len(), part.slice(5..5).unwrap().is_empty()), (5, true));
        assert!(part.slice(0..6).is_none() && secret.slice(8..8).is_none());
    }
}
