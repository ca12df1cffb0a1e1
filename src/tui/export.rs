//! Writing what is in sight to a file.

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// The figures, a line a row.
    Csv,
    /// The figures as an array of objects.
    Json,
    /// The screen as a picture.
    Svg,
    /// The screen as text.
    Text,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Csv, Self::Json, Self::Svg, Self::Text];

    /// Its name, which is also the end of the file's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Svg => "svg",
            Self::Text => "txt",
        }
    }

    /// What it holds.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Csv => "the figures, in base units",
            Self::Json => "the figures, in base units",
            Self::Svg => "the screen as a picture",
            Self::Text => "the screen as text",
        }
    }
}
