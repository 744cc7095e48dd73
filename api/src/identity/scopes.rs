//! What a credential is good for, of all that its actor may do.

use std::{collections::BTreeSet, sync::Arc};

use contracts::ApiPermission;

/// The permissions that a credential was made for. Tokens are good for all that their actor may do;
/// so is a key without scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(Option<Arc<BTreeSet<ApiPermission>>>);

impl Scopes {
    /// Everything.
    pub const ALL: Self = Self(None);

    /// These; everything without any.
    pub fn of(scopes: &BTreeSet<ApiPermission>) -> Self {
        Self((!scopes.is_empty()).then(|| Arc::new(scopes.clone())))
    }

    /// Whether the credential is good for this.
    pub fn include(&self, permission: ApiPermission) -> bool {
        self.0
            .as_ref()
            .is_none_or(|scopes| scopes.contains(&permission))
    }
}

#[cfg(test)]
mod tests {
    use contracts::{Operation, ReadPermission};

    use super::*;

    #[test]
    fn none_is_everything_and_some_are_those() {
        let read = ApiPermission::Read(ReadPermission::Tickets);
        let write = ApiPermission::Command(Operation::CreateTicket);
        assert!(Scopes::ALL.include(write));
        assert!(Scopes::of(&BTreeSet::new()).include(write));
        let one = Scopes::of(&[read].into());
        assert!(one.include(read) && !one.include(write));
    }
}
