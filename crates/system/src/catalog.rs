//! Catalog of things with names that come from several places: the program itself, the user's
//! own folder, and folders or files that the user names. Later ones take the place of earlier
//! ones.

use std::sync::Arc;

use cyclometer_core::suggest::{find_nearest_name, format_suggestion};

/// Entry of a catalog.
pub trait CatalogEntry {
    /// Returns the name by which people choose it.
    fn name(&self) -> &str;

    /// Returns the file that it was read from.
    fn origin(&self) -> String;

    /// Returns the name of its family, whose members take the place of another together.
    fn family(&self) -> &str {
        self.name()
    }
}

impl<T: CatalogEntry> CatalogEntry for Arc<T> {
    fn name(&self) -> &str {
        T::name(self)
    }

    fn origin(&self) -> String {
        T::origin(self)
    }

    fn family(&self) -> &str {
        T::family(self)
    }
}

/// Entries with different names, and notices about them.
#[derive(Debug, Clone)]
pub struct NamedCatalog<T> {
    entries: Vec<T>,
    notices: Vec<String>,
}

impl<T> Default for NamedCatalog<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), notices: Vec::new() }
    }
}

impl<T: CatalogEntry> NamedCatalog<T> {
    /// Adds the members of a family, which take the place of those that there are. A notice
    /// records this.
    pub fn add_family(&mut self, members: Vec<T>) {
        let Some(first) = members.first() else { return };
        let mut at = self.entries.len();
        if let Some(found) = self.entries.iter().position(|it| it.family() == first.family()) {
            at = found;
            self.notices.push(format!(
                "{} from {} takes the place of the one from {}",
                first.family(),
                first.origin(),
                self.entries[found].origin()
            ));
            self.entries.retain(|it| it.family() != first.family());
        }
        self.entries.splice(at..at, members);
    }

    /// Adds an entry that is a family of its own.
    pub fn add_entry(&mut self, entry: T) {
        self.add_family(vec![entry]);
    }

    /// Puts an entry into the place of the one of its name, without a notice: it is the same, read
    /// again.
    pub fn replace_entry(&mut self, entry: T) {
        if let Some(old) = self.entries.iter_mut().find(|it| it.name() == entry.name()) {
            *old = entry;
        }
    }

    /// Removes the entry of that name, if there is one.
    pub fn remove_entry(&mut self, name: &str) {
        self.entries.retain(|it| it.name() != name);
    }

    /// Adds a notice, such as the reason why a file was left out.
    pub fn add_notice(&mut self, notice: String) {
        self.notices.push(notice);
    }

    /// Orders the entries by their names.
    pub fn sort_by_name(&mut self) {
        self.entries.sort_by(|one, other| one.name().cmp(other.name()));
    }

    /// Returns all entries, in the order in which their names were first added.
    #[must_use]
    pub fn entries(&self) -> &[T] {
        &self.entries
    }

    /// Returns the notices, in the order of their causes.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Returns the entry of that name.
    #[must_use]
    pub fn find_entry(&self, name: &str) -> Option<&T> {
        self.entries.iter().find(|it| it.name() == name)
    }

    /// Iterates over the names.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.entries.iter().map(T::name)
    }

    /// Returns the name that was probably meant by one that is not known.
    #[must_use]
    pub fn find_nearest_name(&self, unknown: &str) -> Option<&str> {
        find_nearest_name(unknown, self.names())
    }

    /// Returns `; did you mean ...?` for a name that is not known, or a list of all names.
    #[must_use]
    pub fn format_suggestion(&self, unknown: &str) -> String {
        format_suggestion(unknown, self.names())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Entry(&'static str, &'static str);

    impl CatalogEntry for Entry {
        fn name(&self) -> &str {
            self.0
        }

        fn origin(&self) -> String {
            self.1.to_owned()
        }

        fn family(&self) -> &str {
            self.0.split(':').next().unwrap_or(self.0)
        }
    }

    #[test]
    fn later_families_take_the_place_of_earlier_ones_whole_and_say_so() {
        let mut catalog = NamedCatalog::default();
        catalog.add_family(vec![Entry("node", "shipped"), Entry("node:old", "shipped")]);
        catalog.add_entry(Entry("deno", "shipped"));
        assert_eq!(catalog.notices(), [""; 0]);
        catalog.add_family(vec![Entry("node", "own"), Entry("node:new", "own")]);
        let names: Vec<_> = catalog.names().collect();
        assert_eq!(names, ["node", "node:new", "deno"], "in the same place");
        assert_eq!(catalog.find_entry("node"), Some(&Entry("node", "own")));
        assert_eq!(catalog.find_entry("node:old"), None, "its family is gone");
        assert_eq!(catalog.notices(), ["node from own takes the place of the one from shipped"]);
        catalog.sort_by_name();
        assert_eq!(catalog.entries()[0].name(), "deno");
    }

    #[test]
    fn unknown_names_get_the_nearest_one_or_all() {
        let mut catalog = NamedCatalog::default();
        catalog.add_family(vec![]);
        catalog.add_entry(Entry("nbody", "shipped"));
        catalog.add_entry(Entry("nop", "shipped"));
        assert_eq!(catalog.find_nearest_name("nbdoy"), Some("nbody"));
        assert_eq!(catalog.format_suggestion("nbdoy"), "; did you mean `nbody`?");
        assert_eq!(catalog.format_suggestion("zzz"), "; there are nbody, nop");
    }
}
