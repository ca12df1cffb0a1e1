//! The user of an image, looked up in the root's own user database, as Docker does it.

use std::path::Path;

use cyclometer_system::files::{Bound, FileError, Folder};

const DATABASE: Bound = Bound::new("a user database of a root", 4 << 20);

/// User of a container's process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ContainerUser {
    pub id: u32,
    pub group: u32,
    /// Further groups, sorted.
    pub more_groups: Vec<u32>,
    /// Home by the user database; empty: not known.
    pub home: String,
}

impl ContainerUser {
    /// Parses numbers: `USER[:GROUP]`.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn parse_numbers(text: &str) -> Result<Self, String> {
        let (user, group) = text.split_once(':').unwrap_or((text, "0"));
        let number = |text: &str| {
            text.parse().map_err(|_| {
                format!(
                    "user `{text}`: without an image there is no user database, so give numbers, \
                     such as 1000:1000"
                )
            })
        };
        Ok(Self { id: number(user)?, group: number(group)?, ..Self::default() })
    }

    /// Finds the user that `text` (`USER[:GROUP]`, names or numbers; empty: root) stands for in a
    /// root.
    ///
    /// # Errors
    /// What is not known there.
    pub fn find_in_root(root: &Folder, text: &str) -> Result<Self, String> {
        let (wanted, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (text, None),
        };
        let wanted = if wanted.is_empty() { "0" } else { wanted };
        let number: Option<u32> = wanted.parse().ok();
        let passwd = read_database(root, "etc/passwd")?;
        // NAME:PASSWORD:UID:GID:COMMENT:HOME:SHELL
        let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| {
            let id = fields.get(2).and_then(|id| id.parse::<u32>().ok());
            fields.len() >= 6 && (fields[0] == wanted || number.is_some() && id == number)
        });
        let field = |at: usize| entry.as_ref().and_then(|fields| fields.get(at)).copied();
        let id = field(2).and_then(|id| id.parse().ok()).or(number).ok_or_else(|| {
            format!("its user `{}` is not in its /etc/passwd", wanted.escape_debug())
        })?;
        let own_group = field(3).and_then(|group| group.parse().ok()).unwrap_or(0);
        let home = field(5).unwrap_or_default().to_owned();
        let groups = read_database(root, "etc/group")?;
        let group_id = |name: &str| find_group(&groups, name);
        if let Some(group) = group {
            let group = group_id(group).ok_or_else(|| {
                format!("its group `{}` is not in its /etc/group", group.escape_debug())
            })?;
            return Ok(Self { id, group, more_groups: Vec::new(), home });
        }
        let more_groups = field(0).map_or_else(Vec::new, |name| groups_of_user(&groups, name));
        Ok(Self { id, group: own_group, more_groups, home })
    }
}

/// Returns the number of a group; a number need not be known.
fn find_group(database: &str, wanted: &str) -> Option<u32> {
    let named = database.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(wanted)).then(|| fields.nth(1)?.parse().ok())?
    });
    named.or_else(|| wanted.parse().ok())
}

fn groups_of_user(database: &str, user: &str) -> Vec<u32> {
    let mut all: Vec<u32> = database
        .lines()
        .filter_map(|line| {
            // NAME:PASSWORD:GID:USER,USER
            let fields: Vec<&str> = line.split(':').collect();
            let is_member = fields.get(3)?.split(',').any(|member| member == user);
            is_member.then(|| fields.get(2)?.parse().ok())?
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns a database of the root as text; an empty one where there is none.
fn read_database(root: &Folder, name: &str) -> Result<String, String> {
    match root.read_file(Path::new(name), DATABASE) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(FileError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(String::new())
        }
        Err(error) => Err(format!("its /{name} cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_system::files::LinkPolicy;

    #[test]
    fn users_are_those_of_the_root() {
        let place = tempfile::tempdir().expect("a folder");
        let find = |text: &str| {
            let root = Folder::open(place.path(), LinkPolicy::Beneath).expect("there");
            ContainerUser::find_in_root(&root, text)
        };
        let user = |id, group, more: &[u32], home: &str| {
            Ok(ContainerUser { id, group, more_groups: more.to_vec(), home: home.to_owned() })
        };
        assert_eq!(find(""), user(0, 0, &[], ""), "without a database");
        assert_eq!(find("7:8"), user(7, 8, &[], ""));
        assert!(find("app").is_err_and(|text| text.contains("`app` is not in its /etc/passwd")));
        std::fs::create_dir(place.path().join("etc")).expect("made");
        let write = |name: &str, text: &str| std::fs::write(place.path().join(name), text);
        let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\nbroken\n";
        write("etc/passwd", passwd).expect("written");
        let groups = "root:x:0:\naudio:x:29:app,root\nvideo:x:44:app\nwheel:x:10:other,app\nbad\n";
        write("etc/group", groups).expect("written");
        assert_eq!(find(""), user(0, 0, &[29], "/root"));
        assert_eq!(find("app"), user(1000, 1001, &[10, 29, 44], "/srv"));
        assert_eq!(find("1000"), user(1000, 1001, &[10, 29, 44], "/srv"));
        // A group that is named stands alone, as Docker has it.
        assert_eq!(find("app:video"), user(1000, 44, &[], "/srv"));
        assert_eq!(find("app:5"), user(1000, 5, &[], "/srv"));
        assert_eq!(find("55"), user(55, 0, &[], ""), "a number need not be known");
        assert!(find("0:nobody").is_err_and(|text| text.contains("/etc/group")));
        std::fs::remove_file(place.path().join("etc/passwd")).expect("removed");
        std::os::unix::fs::symlink("/etc/passwd", place.path().join("etc/passwd")).expect("linked");
        assert!(find("root").is_err_and(|text| text.contains("leads out")));
    }

    #[test]
    fn without_an_image_users_are_numbers() {
        let parsed = ContainerUser::parse_numbers("12:34").expect("numbers");
        assert_eq!((parsed.id, parsed.group), (12, 34));
        assert_eq!(ContainerUser::parse_numbers("12").map(|it| (it.id, it.group)), Ok((12, 0)));
        assert!(ContainerUser::parse_numbers("app").is_err_and(|text| text.contains("numbers")));
    }
}
