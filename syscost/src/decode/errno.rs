//! Errno names.

use std::borrow::Cow;

use nix::errno::Errno;

/// The symbol of `errno`, as in `errno(3)`; errno 0 stands for errors beyond the table.
pub fn symbol(errno: u16) -> Cow<'static, str> {
    if errno == 0 {
        return Cow::Borrowed("other");
    }
    match Errno::from_raw(errno.into()) {
        // The kernel's own, never shown to programs (include/linux/errno.h), and the unassigned.
        Errno::UnknownErrno => Cow::Owned(format!("E{errno}")),
        known => Cow::Owned(format!("{known:?}")),
    }
}

/// What `errno` means, in words; empty where nothing is known.
pub fn meaning(errno: u16) -> &'static str {
    match Errno::from_raw(errno.into()) {
        Errno::UnknownErrno => "",
        known => known.desc(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errnos_have_the_names_of_errno_3() {
        assert_eq!(symbol(2), "ENOENT");
        assert_eq!(symbol(11), "EAGAIN");
        assert_eq!(symbol(110), "ETIMEDOUT");
        assert_eq!(meaning(2), "No such file or directory");
    }

    #[test]
    fn errnos_without_a_name_keep_their_number() {
        assert_eq!(symbol(0), "other");
        assert_eq!(symbol(41), "E41");
        assert_eq!(meaning(41), "");
    }
}
