//! Who a user is: read from the machine's own `/etc/passwd` and `/etc/group`, since a static program has no name
//! service.

use std::fs;
use std::io;

/// A user and the groups that it is in.
pub struct User {
    /// The number.
    pub uid: u32,
    /// The first group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
    /// The home folder.
    pub home: String,
    /// The name.
    pub name: String,
}

/// Looks a user up by name.
pub fn find(name: &str) -> io::Result<User> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    let group = fs::read_to_string("/etc/group")?;
    parse(name, &passwd, &group)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("the machine has no user {name}")))
}

fn parse(name: &str, passwd: &str, group: &str) -> Option<User> {
    let entry: Vec<_> =
        passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|e| e.first() == Some(&name))?;
    let gid = entry.get(3)?.parse().ok()?;
    let mut groups = vec![gid];
    for line in group.lines() {
        let fields: Vec<_> = line.split(':').collect();
        if let (Some(number), Some(members)) = (fields.get(2).and_then(|n| n.parse().ok()), fields.get(3))
            && members.split(',').any(|member| member == name)
        {
            groups.push(number);
        }
    }
    let uid = entry.get(2)?.parse().ok()?;
    Some(User { uid, gid, groups, home: entry.get(5).map_or("/", |home| *home).to_owned(), name: name.to_owned() })
}
