//! `.manifest`: the bundle's version and the parts of `data` that it owns.

use serde::Deserialize;

use crate::{error::BundleError, structured};

/// The manifest as OPA defines it, as far as a bundle of ours needs it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The version for people.
    pub revision: String,
    /// Slash-separated prefixes of `data`.
    pub roots: Vec<String>,
    /// 1 is all that is spoken here.
    #[serde(default = "rego_v1")]
    rego_version: u8,
}

fn rego_v1() -> u8 {
    1
}

impl Manifest {
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, BundleError> {
        let text = text.ok_or_else(|| {
            refused("it is missing; a bundle needs `{\"revision\": …, \"roots\": […]}`")
        })?;
        let manifest: Self = structured::check_names(text)
            .and_then(|()| serde_json::from_str(text))
            .map_err(|e| refused(&e.to_string()))?;
        let visible = |c: char| c.is_ascii_graphic();
        if !(1..=64).contains(&manifest.revision.len()) || !manifest.revision.chars().all(visible) {
            return Err(refused(
                "`revision` must be 1 to 64 visible ASCII characters",
            ));
        }
        if manifest.rego_version != 1 {
            return Err(refused("`rego_version` must be 1"));
        }
        if manifest.roots.iter().any(String::is_empty) || manifest.roots.is_empty() {
            return Err(refused(
                "`roots` must name each part of `data` that the bundle owns",
            ));
        }
        Ok(manifest)
    }

    /// Refuses a path of `data` that no root covers.
    pub(crate) fn check_covers(&self, path: &[&str]) -> Result<(), BundleError> {
        let covered = self.roots.iter().any(|root| {
            let mut path = path.iter();
            root.split('/').all(|part| path.next() == Some(&part))
        });
        if covered {
            Ok(())
        } else {
            Err(BundleError::OutsideRoots {
                path: path.join("."),
            })
        }
    }
}

fn refused(reason: &str) -> BundleError {
    BundleError::Manifest {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_covers_what_is_below_it() {
        let manifest = Manifest::parse(Some(r#"{"revision":"1","roots":["a/b","c"]}"#)).unwrap();
        assert!(manifest.check_covers(&["a", "b", "x"]).is_ok());
        assert!(manifest.check_covers(&["c"]).is_ok());
        assert!(manifest.check_covers(&["a"]).is_err());
        assert!(manifest.check_covers(&["ab"]).is_err());
    }

    #[test]
    fn a_manifest_must_say_what_it_is() {
        for bad in [
            "{}",
            r#"{"revision":"","roots":["a"]}"#,
            r#"{"revision":"1","roots":[]}"#,
            r#"{"revision":"1","roots":[""]}"#,
            r#"{"revision":"1","roots":["a"],"rego_version":0}"#,
            r#"{"revision":"1","roots":["a"],"wasm":[]}"#,
            r#"{"revision":"1","roots":["a"],"revision":"1"}"#,
        ] {
            assert!(Manifest::parse(Some(bad)).is_err(), "{bad}");
        }
        assert!(Manifest::parse(None).is_err());
    }
}
