//! Users and groups of this machine, by `/etc/passwd` and `/etc/group`.
//!
//! Read directly: the C library's way may load modules and talk to other daemons, which a process
//! without privileges, under a filter of system calls, should not have to.

use std::path::Path;

/// passwd(5).
const PASSWD: &str = "/etc/passwd";
/// group(5).
const GROUP: &str = "/etc/group";

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The number of the user's own group.
    pub gid: u32,
}

/// The files' texts; empty where a file cannot be read.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Those of this machine.
    pub fn here() -> Self {
        Self::read(Path::new(PASSWD), Path::new(GROUP))
    }

    fn read(passwd: &Path, group: &Path) -> Self {
        let text = |path| std::fs::read(path).unwrap_or_default();
        let text = |path| String::from_utf8_lossy(&text(path)).into_owned();
        Self { passwd: text(passwd), group: text(group) }
    }

    /// A user by name or number.
    pub fn user(&self, name_or_number: &str) -> Option<User> {
        let number = name_or_number.parse::<u32>().ok();
        let mut users = self.passwd.lines().filter_map(user);
        users.find(|user| user.name == name_or_number || Some(user.uid) == number)
    }

    /// A group's number by name or number; a number needs no entry.
    pub fn group(&self, name_or_number: &str) -> Option<u32> {
        let named = |line| group(line).filter(|(name, ..)| *name == name_or_number);
        let found = self.group.lines().find_map(named).map(|(_, gid, _)| gid);
        found.or_else(|| name_or_number.parse().ok())
    }

    /// A group's name, or its number.
    pub fn group_name(&self, gid: u32) -> String {
        let named = |line| group(line).filter(|(_, number, _)| *number == gid);
        let found = self.group.lines().find_map(named);
        found.map_or_else(|| gid.to_string(), |(name, ..)| name.to_owned())
    }

    /// The numbers of the groups that list a user.
    pub fn groups_of(&self, user: &str) -> Vec<u32> {
        let lists = |members: &str| members.split(',').any(|member| member == user);
        let groups = self.group.lines().filter_map(group);
        groups.filter(|(_, _, members)| lists(members)).map(|(_, gid, _)| gid).collect()
    }
}

fn user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let (name, _password) = (fields.next()?, fields.next()?);
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(User { name: name.to_owned(), uid, gid })
}

/// Name, number and members.
fn group(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let (name, _password) = (fields.next()?, fields.next()?);
    Some((name, fields.next()?.parse().ok()?, fields.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found() {
        let accounts = Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\n# odd\nlb:x:998:997::/:/bin/false\n".into(),
            group: "root:x:0:\nlb:x:997:\nwatch:x:50:ann,lb\nhugetlb:x:51:lb\n".into(),
        };
        let lb = User { name: "lb".into(), uid: 998, gid: 997 };
        assert_eq!(accounts.user("lb"), Some(lb.clone()));
        assert_eq!(accounts.user("998"), Some(lb));
        assert_eq!((accounts.user("nobody"), accounts.user("5")), (None, None));
        assert_eq!((accounts.group("watch"), accounts.group("77")), (Some(50), Some(77)));
        assert_eq!(accounts.group("none"), None);
        assert_eq!(
            (accounts.group_name(51), accounts.group_name(9)),
            ("hugetlb".into(), "9".into())
        );
        assert_eq!(accounts.groups_of("lb"), [50, 51]);
    }
}
