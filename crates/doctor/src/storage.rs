//! Checks of storage: the database, compiled code, and folders for temporary files.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::{HostCheckState, HostFinding};
use cyclometer_core::units::Bytes;
use cyclometer_lanes::cache;
use cyclometer_lanes::wasmtime::engine;
use cyclometer_store::Store;
use cyclometer_system::paths;

/// Checks the database, compiled code, temporary files, and the engine that compiles.
/// Without a database, `database` is the reason why there is none.
#[must_use]
pub fn check_storage(database: Result<&Path, &str>) -> Vec<HostFinding> {
    let mut findings = match database {
        Ok(path) => vec![check_database_file(path)],
        Err(reason) => vec![HostFinding::new("database", HostCheckState::Unusable, reason, "")],
    };
    findings.extend(database.ok().and_then(check_database_rights));
    findings.push(check_compiled_code());
    findings.push(check_temporary_files());
    findings.push(HostFinding::ok("wasmtime", engine::VERSION));
    findings
}

fn check_database_file(database: &Path) -> HostFinding {
    let path = database.display();
    let check = "database";
    match std::fs::metadata(database) {
        Err(_) if paths::may_write_or_make(database) => {
            HostFinding::ok(check, format!("{path}, not made yet"))
        }
        Err(_) => HostFinding::new(
            check,
            HostCheckState::Unusable,
            format!("{path} is not there, and this user may not make it"),
            "name one in a folder of yours with --db or CYCLOMETER_DB",
        ),
        Ok(data) => match Store::check_usable(database) {
            Ok(()) => {
                let mode = data.permissions().mode() & 0o7777;
                HostFinding::ok(check, format!("{path}, {}, mode {mode:04o}", Bytes(data.len())))
            }
            Err(error) => HostFinding::new(check, HostCheckState::Unusable, error.to_string(), ""),
        },
    }
}

/// Reports a database that others can read or write.
fn check_database_rights(database: &Path) -> Option<HostFinding> {
    let data = std::fs::metadata(database).ok()?;
    let mode = data.permissions().mode() & 0o7777;
    let own = nix::unistd::geteuid().as_raw();
    let mut wide = Vec::new();
    if mode & 0o077 != 0 {
        let may = if mode & 0o022 != 0 { "read and write it" } else { "read it" };
        wide.push(format!("others can {may} (mode {mode:04o})"));
    }
    if data.uid() != own {
        wide.push(format!("it belongs to {}", paths::describe_user(data.uid())));
    }
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if let Err(reason) = paths::check_folder_trust(folder, paths::FolderPurpose::Read) {
        wide.push(format!("what can be put beside it: {reason}"));
    }
    let fix = format!(
        "chmod go-rwx {0} {0}-wal {0}-shm, in a folder that you alone can write",
        database.display()
    );
    (!wide.is_empty()).then(|| {
        HostFinding::new("rights of the database", HostCheckState::Warning, wide.join("; "), fix)
    })
}

/// Reports where compiled code and unpacked images are cached, or why it is not.
fn check_compiled_code() -> HostFinding {
    let check = "compiled code";
    match cache::cache_root() {
        Ok(place) => {
            let most = |name: &str| format!("{name} {}", Bytes(cache::max_folder_bytes(name)));
            let each = cache::FOLDER_NAMES.map(most).join(", ");
            let shown = place.display();
            let found = format!("kept in {shown}, at most {each}");
            let mode = std::fs::metadata(&place).map_or(0, |data| data.permissions().mode());
            if mode & 0o077 != 0 {
                let found = format!("{found}; others can read it (mode {:04o})", mode & 0o7777);
                let fix = format!("chmod 0700 {shown}");
                return HostFinding::new(check, HostCheckState::Warning, found, fix);
            }
            HostFinding::ok(check, found)
        }
        Err(reason) => HostFinding::new(
            check,
            HostCheckState::Warning,
            format!("not kept, and compiled again each time: {reason}"),
            "set XDG_CACHE_HOME to a folder of yours",
        ),
    }
}

fn check_temporary_files() -> HostFinding {
    let check = "temporary files";
    match paths::temporary_folder() {
        Ok(folder) => HostFinding::ok(check, folder.display().to_string()),
        Err(error) => HostFinding::new(
            check,
            HostCheckState::Missing,
            error.to_string(),
            "set TMPDIR to a folder of yours: lanes with bundles need one",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_database_is_unusable_and_none_is_fine() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.db");
        assert!(check_storage(Ok(&path))[0].found.ends_with("not made yet"));
        std::fs::write(&path, "no database at all ".repeat(40)).expect("written");
        let finding = &check_storage(Ok(&path))[0];
        assert_eq!(finding.state, HostCheckState::Unusable);
        assert!(finding.found.contains("not an SQLite database"), "{}", finding.found);
        let none = &check_storage(Err("no home"))[0];
        assert_eq!((none.state, &*none.found), (HostCheckState::Unusable, "no home"));
    }

    #[test]
    fn a_database_that_others_can_read_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.db");
        drop(Store::open(&path).expect("made"));
        assert_eq!(check_database_rights(&path), None, "made for its user alone");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("set");
        let finding = check_database_rights(&path).expect("told");
        assert_eq!(finding.found, "others can read it (mode 0644)");
        assert!(finding.fix.starts_with("chmod go-rwx"), "{}", finding.fix);
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o1777)).expect("set");
        let found = check_database_rights(&path).expect("told").found;
        assert!(found.contains("what can be put beside it"), "{found}");
    }
}
