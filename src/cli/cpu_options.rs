//! Options for the CPU share of functions.

use clap::ValueEnum;

use super::CommandFailure;
use crate::record::check_share_fits;
use crate::workload::{CpuByMemory, CpuShare, CpuShareRule};

/// CPU share that functions are given and held to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub(super) struct CpuOptions {
    /// CPUs that each function may use, such as 0.5, enforced by a control group and billed for
    /// [default: whole ones, without a limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cpus: Option<CpuShare>,
    /// Give each function the CPUs that a provider gives it for its memory
    #[arg(long, value_enum, value_name = "PROVIDER", conflicts_with = "cpus")]
    cpu_by_memory: Option<Provider>,
}

/// Provider whose CPU follows the memory of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Provider {
    /// Lambda: one CPU at 1,769 MB, in proportion
    Aws,
    /// Cloud Run functions: from 0.083 CPUs at 128 MB, one at 2 GB, two at 4 GB
    Google,
    /// Functions in the Flex Consumption plan: 0.25 CPUs at 512 MB, one at 2 GB, two at 4 GB
    Azure,
}

impl CpuOptions {
    /// Returns the rule that was asked for, if one was; `pinned`: functions run on one CPU only.
    ///
    /// # Errors
    /// Fails for more CPUs than there are: that share could not be enforced.
    pub(super) fn share_rule(self, pinned: bool) -> Result<Option<CpuShareRule>, CommandFailure> {
        if let Some(share) = self.cpus {
            let refused = |reason| CommandFailure::Usage(format!("--cpus: {reason}"));
            check_share_fits(share, pinned).map_err(refused)?;
            return Ok(Some(CpuShareRule::Fixed(share)));
        }
        Ok(self.cpu_by_memory.map(|provider| {
            CpuShareRule::ByMemory(match provider {
                Provider::Aws => CpuByMemory::Aws,
                Provider::Google => CpuByMemory::Google,
                Provider::Azure => CpuByMemory::Azure,
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        cpu: CpuOptions,
    }

    fn parse(args: &[&str]) -> Result<CpuOptions, String> {
        let line = Line::try_parse_from(std::iter::once(&"test").chain(args));
        line.map(|line| line.cpu).map_err(|error| error.to_string())
    }

    #[test]
    fn a_share_is_a_number_or_a_provider_and_not_both() {
        let rule = |args: &[&str]| parse(args).expect("valid").share_rule(false).expect("fits");
        assert_eq!(rule(&[]), None);
        assert_eq!(rule(&["--cpus", "0.5"]), Some(CpuShareRule::Fixed(CpuShare(500))));
        let aws = Some(CpuShareRule::ByMemory(CpuByMemory::Aws));
        assert_eq!(rule(&["--cpu-by-memory", "aws"]), aws);
        for args in [["--cpus", "0"], ["--cpus", "-1"], ["--cpus", "two"]] {
            let error = parse(&args).expect_err("refused");
            assert!(error.contains("is no number of CPUs"), "{error}");
        }
        assert!(parse(&["--cpus", "1", "--cpu-by-memory", "aws"]).is_err());
        let many = parse(&["--cpus", "100000"]).expect("a number").share_rule(false);
        assert!(many.is_err(), "no machine has them");
        assert!(parse(&["--cpus", "1.5"]).expect("a number").share_rule(true).is_err());
    }
}
