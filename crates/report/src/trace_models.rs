//! Price models that a trace is billed by unless others are named: those of its platforms, in the
//! version of the day on which it begins.

use cyclometer_pricing::{PriceCatalog, PriceModel};
use cyclometer_store::{Store, StoreError};

use super::answer::HEADLINE_MODELS;

/// Platforms of traces, with the model that they bill by.
const PLATFORM_MODELS: [(&str, &str); 9] = [
    ("aws-lambda", "aws-lambda-x86"),
    ("google-cloud-run", "google-cloud-run"),
    ("google-cloud-functions", "google-cloud-functions"),
    ("azure-functions", "azure-consumption"),
    ("cloudflare-workers", "cloudflare-workers"),
    ("vercel", "vercel-fluid"),
    ("openwhisk", "ibm-cloud-functions"),
    ("huawei-functiongraph", "huawei-functiongraph"),
    ("yandex-cloud", "yandex-cloud-functions"),
];

/// Returns the model that a platform bills by, if it is known.
#[must_use]
pub fn find_platform_model(platform: &str) -> Option<&'static str> {
    PLATFORM_MODELS.iter().find(|(name, _)| *name == platform).map(|(_, model)| *model)
}

/// Returns the ids of the models that recordings and traces are billed by unless others are named.
///
/// Recordings, or recordings and traces together, are billed by [`HEADLINE_MODELS`]; traces alone
/// by the models of their platforms, and of their region where all functions are in one, that were in force when they began or, with `all_versions`, at
/// any time until they ended.
///
/// # Errors
/// Fails when the database cannot be read.
pub fn list_default_models(
    store: &Store,
    recordings: &[i64],
    catalog: &PriceCatalog,
    all_versions: bool,
) -> Result<Vec<String>, StoreError> {
    let mut ids: Vec<String> = Vec::new();
    for recording in recordings {
        let details = store.recording_details(*recording)?;
        if !details.is_trace {
            return Ok(HEADLINE_MODELS.map(str::to_owned).to_vec());
        }
        let first = details.started_at.get(..10).unwrap_or_default();
        let last = details.ended_at.as_deref().and_then(|end| end.get(..10)).unwrap_or(first);
        for lane in store.lanes_of_recordings(&[*recording])? {
            let Some(id) = find_platform_model(&lane.name) else { continue };
            let Ok(model) = catalog.find_model(id) else { continue };
            let version = regional_version(store, *recording, &lane.name, catalog, {
                catalog.find_version(model, first)
            })?;
            let mut versions = vec![version];
            if all_versions {
                versions.extend(catalog.later_versions(model, first, last));
            }
            for version in versions {
                if !ids.iter().any(|known| known == version.id()) {
                    ids.push(version.id().to_owned());
                }
            }
        }
    }
    if ids.is_empty() {
        ids.push(HEADLINE_MODELS[0].to_owned());
    }
    Ok(ids)
}

/// Returns the model with the prices of the region that all functions of a platform are in, where
/// there is one; the model itself elsewhere.
fn regional_version<'a>(
    store: &Store,
    recording: i64,
    platform: &str,
    catalog: &'a PriceCatalog,
    model: &'a PriceModel,
) -> Result<&'a PriceModel, StoreError> {
    let regions = store.platform_regions(recording, platform)?;
    let [Some(region)] = regions.as_slice() else { return Ok(model) };
    let regional = catalog.find_model(&format!("{}-{region}", model.id()));
    Ok(regional.unwrap_or(model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_has_a_model_that_exists() {
        let catalog = PriceCatalog::with_builtin_models();
        for (platform, id) in PLATFORM_MODELS {
            assert!(catalog.find_model(id).is_ok(), "{platform}: {id}");
        }
        assert_eq!(find_platform_model("aws-lambda"), Some("aws-lambda-x86"));
        assert_eq!(find_platform_model("native"), None);
    }

    #[test]
    fn the_version_is_that_of_the_day() {
        let catalog = PriceCatalog::with_builtin_models();
        let model = catalog.find_model("aws-lambda-x86").expect("there");
        for (day, id) in [
            ("2025-08-01", "aws-lambda-x86"),
            ("2025-07-31", "aws-lambda-x86-2020"),
            ("2020-11-30", "aws-lambda-x86-2014"),
            // Before there was any version, the model itself stands.
            ("2001-01-01", "aws-lambda-x86"),
        ] {
            assert_eq!(catalog.find_version(model, day).id(), id, "{day}");
        }
    }
}
