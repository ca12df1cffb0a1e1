//! The user of a container image: names become numbers by the files of the image itself, as
//! engines do it.

use crate::docker::responses::sanitize_engine_text;
use crate::image_config::ImageRefusal;

/// Largest number of a user or a group that engines accept.
const LARGEST_ID: u32 = i32::MAX.cast_unsigned();
/// Most supplementary groups of a user.
const MOST_GROUPS: usize = 1000;

/// A user with its groups, by numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FunctionUser {
    /// Number of the user.
    pub uid: u32,
    /// Number of its group.
    pub gid: u32,
    /// Numbers of its supplementary groups.
    pub groups: Vec<u32>,
    /// Home of the user; `None`: the image names none.
    pub home: Option<String>,
}

impl FunctionUser {
    /// Returns whether it is the superuser of its container.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.uid == 0
    }
}

impl std::fmt::Display for FunctionUser {
    /// Writes `UID:GID`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// Texts of `/etc/passwd` and `/etc/group` of an image; empty where it has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountFiles {
    /// Users.
    pub passwd: String,
    /// Groups.
    pub group: String,
}

/// A line of `/etc/passwd`.
struct UserEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// A line of `/etc/group`.
struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl AccountFiles {
    fn users(&self) -> impl Iterator<Item = UserEntry<'_>> {
        self.passwd.lines().filter_map(|line| {
            let mut fields = line.trim().split(':');
            let (name, _) = (fields.next()?, fields.next()?);
            let (uid, gid) = (parse_id(fields.next()?)?, parse_id(fields.next()?)?);
            Some(UserEntry { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
        })
    }

    fn groups(&self) -> impl Iterator<Item = GroupEntry<'_>> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.trim().split(':');
            let (name, _) = (fields.next()?, fields.next()?);
            let gid = parse_id(fields.next()?)?;
            Some(GroupEntry { name, gid, members: fields.next().unwrap_or_default() })
        })
    }

    /// Resolves `USER[:GROUP]`, by names or numbers; empty: root. A number need not be in the
    /// files. `image` is for messages.
    ///
    /// # Errors
    /// [`ImageRefusal`] when a name is not in the files, or a number is none that a user can have.
    pub fn resolve_user(&self, image: &str, text: &str) -> Result<FunctionUser, ImageRefusal> {
        let refuse = |reason: String| ImageRefusal::Impossible { image: image.to_owned(), reason };
        let missing = |what: &str, name: &str, file: &str| {
            let name = sanitize_engine_text(name);
            refuse(if name.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
                format!("`{name}` is no number of a {what}: use one from 0 to {LARGEST_ID}")
            } else {
                format!(
                    "its {file} has no {what} `{name}`: name one that it has with --user, or a \
                         number"
                )
            })
        };
        let (name, group) = text.split_once(':').unwrap_or((text, ""));
        let wanted = if name.is_empty() { Some(0) } else { parse_id(name) };
        let found = self.users().find(|user| match wanted {
            Some(uid) => user.uid == uid,
            None => user.name == name,
        });
        let mut resolved = match (&found, wanted) {
            (Some(user), _) => FunctionUser {
                uid: user.uid,
                gid: user.gid,
                groups: Vec::new(),
                home: Some(user.home).filter(|home| is_home(home)).map(str::to_owned),
            },
            (None, Some(uid)) => FunctionUser { uid, ..FunctionUser::default() },
            (None, None) => return Err(missing("user", name, "/etc/passwd")),
        };
        if !group.is_empty() {
            let wanted = parse_id(group);
            let found = self.groups().find(|entry| match wanted {
                Some(gid) => entry.gid == gid,
                None => entry.name == group,
            });
            let gid = found.map(|entry| entry.gid).or(wanted);
            resolved.gid = gid.ok_or_else(|| missing("group", group, "/etc/group"))?;
        } else if let Some(user) = found {
            let is_member = |it: &GroupEntry<'_>| it.members.split(',').any(|it| it == user.name);
            resolved.groups = self.groups().filter(is_member).map(|entry| entry.gid).collect();
        }
        if resolved.groups.len() > MOST_GROUPS {
            return Err(refuse(format!("its user is in more than {MOST_GROUPS} groups")));
        }
        Ok(resolved)
    }
}

fn is_home(path: &str) -> bool {
    path.starts_with('/') && path.len() < 4096 && !path.contains('\0')
}

/// Parses the number of a user or a group: digits only.
fn parse_id(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| is_number && *id <= LARGEST_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> AccountFiles {
        AccountFiles {
            passwd: "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken:x:1\nodd:x:-1:5::/:\n\
                     app:x:1000:1001:An app,,,:/srv/app:/bin/sh\nlow:x:7:8::relative:\n"
                .to_owned(),
            group: "root:x:0:\nwheel:x:10:root,app\napp:x:1001:\nvideo:x:27:app,other\n\
                    apps:x:30:application\nstaff:x:50:\n"
                .to_owned(),
        }
    }

    fn resolve(text: &str) -> Result<(u32, u32, Vec<u32>, Option<String>), String> {
        let user = files().resolve_user("me/fn", text).map_err(|error| error.to_string())?;
        Ok((user.uid, user.gid, user.groups, user.home))
    }

    /// Values as `docker run --user TEXT` and `id` in the container show them for these files.
    #[test]
    fn users_are_resolved_as_engines_do() {
        let root = Some("/root".to_owned());
        let app = Some("/srv/app".to_owned());
        assert_eq!(resolve(""), Ok((0, 0, vec![10], root.clone())));
        assert_eq!(resolve("root"), Ok((0, 0, vec![10], root.clone())));
        assert_eq!(resolve("0:staff"), Ok((0, 50, vec![], root)));
        assert_eq!(resolve("app"), Ok((1000, 1001, vec![10, 27], app.clone())));
        assert_eq!(resolve("1000"), Ok((1000, 1001, vec![10, 27], app.clone())));
        assert_eq!(resolve("app:"), Ok((1000, 1001, vec![10, 27], app.clone())));
        assert_eq!(resolve("app:video"), Ok((1000, 27, vec![], app)));
        assert_eq!(resolve("low"), Ok((7, 8, vec![], None)), "a home must be absolute");
        // A number that the files do not have is as good as any.
        assert_eq!(resolve("4711"), Ok((4711, 0, vec![], None)));
        assert_eq!(resolve("4711:4712"), Ok((4711, 4712, vec![], None)));
        assert_eq!(AccountFiles::default().resolve_user("x", "").map(|it| it.uid), Ok(0));
    }

    #[test]
    fn what_is_not_in_the_files_is_refused() {
        let told = "image me/fn cannot be run: its /etc/passwd has no user `nosuch`: name one that \
                    it has with --user, or a number";
        assert_eq!(resolve("nosuch"), Err(told.to_owned()));
        assert!(resolve("app:nosuch").is_err_and(|text| text.contains("/etc/group has no group")));
        for bad in ["-1", "2147483648", "99999999999999999999", "1000:-1", "0x10"] {
            assert!(resolve(bad).is_err_and(|text| text.contains("is no number of a")), "{bad}");
        }
        let crowd: Vec<String> = (0..2000).map(|id| format!("g{id}:x:{id}:app")).collect();
        let files = AccountFiles { group: crowd.join("\n"), ..files() };
        assert!(files.resolve_user("x", "app").is_err(), "too many groups");
    }
}
