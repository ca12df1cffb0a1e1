//! Export of the current view to a file.

use std::path::PathBuf;

use ratatui::buffer::Buffer;

use super::model::Model;
use super::{screen_capture, screens};
use cyclometer_report::{Format, Table};
use cyclometer_system::files::create_new;

/// Format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ExportFormat {
    /// Figures, one line a row.
    Csv,
    /// Figures as an array of objects.
    Json,
    /// Screen as a picture.
    Svg,
    /// Screen as text.
    Text,
}

impl ExportFormat {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Csv, Self::Json, Self::Svg, Self::Text];

    /// Returns the name, which is also the file extension.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Svg => "svg",
            Self::Text => "txt",
        }
    }

    /// Returns a short description of the content.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Csv | Self::Json => "the figures, in base units",
            Self::Svg => "the screen as a picture",
            Self::Text => "the screen as text",
        }
    }
}

/// View that is to be written.
pub(crate) struct PendingExport {
    form: ExportFormat,
    screen: &'static str,
    folder: PathBuf,
    content: Content,
}

enum Content {
    Figures(Table),
    Picture(Buffer),
}

impl PendingExport {
    /// Captures the current view at once, to be written later.
    #[must_use]
    pub fn new(form: ExportFormat, model: &Model, drawn: &Buffer) -> Self {
        let content = match form {
            ExportFormat::Csv | ExportFormat::Json => Content::Figures(screens::table(model)),
            ExportFormat::Svg | ExportFormat::Text => Content::Picture(drawn.clone()),
        };
        let folder = model.settings.folder.clone();
        Self { form, screen: model.screen.name(), folder, content }
    }

    /// Writes a new file; an existing file is never overwritten.
    ///
    /// # Errors
    /// Returns what failed and what to do about it, as text.
    pub(crate) fn write_new_file(&self) -> Result<PathBuf, String> {
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        let stamp: String = now.chars().filter(char::is_ascii_alphanumeric).collect();
        let name = format!("cyclometer-{}-{stamp}", self.screen.to_lowercase());
        let bytes =
            self.encode_content().map_err(|error| format!("cannot make the export: {error}"))?;
        for attempt in 0..100 {
            let more = if attempt == 0 { String::new() } else { format!("-{attempt}") };
            let path = self.folder.join(format!("{name}{more}.{}", self.form.name()));
            let failed = |error: std::io::Error| {
                format!(
                    "cannot write {}: {error}; start cyclometer in a folder that can be written",
                    path.display()
                )
            };
            match create_new(&path, &bytes, 0o600) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
                Ok(()) => return Ok(path),
            }
        }
        Err(format!("there are a hundred files named {name}; remove some"))
    }

    fn encode_content(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match &self.content {
            Content::Figures(table) => {
                let form = if self.form == ExportFormat::Csv { Format::Csv } else { Format::Json };
                table.print(form, &mut bytes)?;
            }
            Content::Picture(buffer) if self.form == ExportFormat::Svg => {
                bytes = screen_capture::to_svg(buffer).into_bytes();
            }
            Content::Picture(buffer) => bytes = screen_capture::to_text(buffer).into_bytes(),
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn written(form: ExportFormat) -> (PathBuf, String, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut model = testing::model((80, 24));
        model.snapshot = testing::full();
        let buffer = testing::buffer(&model);
        let page = PendingExport {
            folder: folder.path().to_owned(),
            ..PendingExport::new(form, &model, &buffer)
        };
        let path = page.write_new_file().expect("written");
        let second = page.write_new_file().expect("written beside it");
        assert_ne!(path, second, "nothing is written over");
        let text = std::fs::read_to_string(&path).expect("readable");
        (path, text, folder)
    }

    #[test]
    fn figures_are_written_in_base_units() {
        let (path, text, _folder) = written(ExportFormat::Csv);
        assert_eq!(path.extension().and_then(|it| it.to_str()), Some("csv"));
        let mut lines = text.lines();
        assert!(lines.next().is_some_and(|line| line.starts_with("workload,lane,start,preset,ok")));
        // Six cells, each under two models.
        assert_eq!(lines.count(), 12);
        let (_, text, _folder) = written(ExportFormat::Json);
        let rows: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        // Runs of 101 to 110 ms.
        let nbody = rows.as_array().and_then(|rows| {
            rows.iter().find(|row| row["workload"] == "nbody" && row["lane"] == "native")
        });
        let nbody = nbody.expect("a row");
        assert_eq!(nbody["run_p50_ns"], 105_500_000);
        assert_eq!(nbody["wasm_ops"], serde_json::Value::Null);
    }

    #[test]
    fn pictures_show_the_screen() {
        let (path, text, _folder) = written(ExportFormat::Svg);
        assert_eq!(path.extension().and_then(|it| it.to_str()), Some("svg"));
        assert!(text.starts_with("<svg ") && text.contains("cyclometer"));
        let (_, text, _folder) = written(ExportFormat::Text);
        assert!(text.contains("native") && text.lines().count() == 24);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told() {
        let model = testing::model((80, 24));
        let buffer = testing::buffer(&model);
        let page = PendingExport {
            folder: "/nonexistent".into(),
            ..PendingExport::new(ExportFormat::Text, &model, &buffer)
        };
        let error = page.write_new_file().expect_err("refused");
        assert!(error.contains("cannot write /nonexistent/cyclometer-live-"), "{error}");
    }
}
