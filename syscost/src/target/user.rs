//! A user: from a name or a number.

use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, User as Entry};

/// A user, by the uid of the root user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The uid.
    pub uid: u32,
    /// The name, where there is one.
    pub name: Option<String>,
}

impl User {
    /// The user called `name`, or with that number; a number need not have a name.
    ///
    /// # Errors
    /// When there is no user of that name.
    pub fn resolve(name: &str) -> Result<Self> {
        if let Ok(uid) = name.parse::<u32>() {
            let entry = Entry::from_uid(Uid::from_raw(uid)).ok().flatten();
            return Ok(Self { uid, name: entry.map(|entry| entry.name) });
        }
        let entry = Entry::from_name(name).context("cannot read the list of users")?;
        let Some(entry) = entry else {
            bail!("no user {name}: give a name or a uid (getent passwd)")
        };
        Ok(Self { uid: entry.uid.as_raw(), name: Some(entry.name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_to_the_same_user() {
        let root = User { uid: 0, name: Some("root".to_owned()) };
        assert_eq!(User::resolve("root").unwrap(), root);
        assert_eq!(User::resolve("0").unwrap(), root);
        assert_eq!(User::resolve("54321").unwrap(), User { uid: 54_321, name: None });
        let error = User::resolve("nobody-of-that-name").unwrap_err().to_string();
        assert!(error.starts_with("no user nobody-of-that-name"), "{error}");
    }
}
