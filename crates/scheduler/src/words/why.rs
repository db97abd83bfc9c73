//! The answers of `millwright why` in words.

use grapher::{Style, cause_lines};
use report::counted;
use rpm_model::{BuildReason, RebuildPolicy};

use super::duration;
use crate::why::{CausedBy, Compared, Verdict, WhyDocument, WhyPackage};

/// More differences of a build root than this are counted.
const SHOWN: usize = 8;

/// Returns the answers in words, a paragraph for each package.
pub fn why_text(document: &WhyDocument, style: &Style) -> String {
    let paragraphs: Vec<String> =
        document.packages.iter().map(|package| package_lines(package, style).join("\n")).collect();
    paragraphs.join("\n\n")
}

fn package_lines(package: &WhyPackage, style: &Style) -> Vec<String> {
    let mut head = package.package.clone();
    if let Some(last) = &package.last {
        let published = last.published.as_ref().map(|evr| format!(", published as {evr}"));
        head.push_str(&format!(" ({}{})", last.source.nvra(), published.unwrap_or_default()));
    }
    if package.asked != package.package {
        head.push_str(&format!(", which yields {}", package.asked));
    }
    let mut lines = style.lines("", &head);
    match (&package.last, &package.unreadable_record) {
        (None, None) => lines.extend(style.lines("  built:     ", "never")),
        (None, Some(path)) => {
            let text = format!("not known: the record `{}` cannot be read", path.display());
            lines.extend(style.lines("  built:     ", &text));
        }
        (Some(last), _) => {
            let text = format!("{} (it took {})", was_because(&last.reasons), duration(last.seconds));
            lines.extend(style.lines("  built:     ", &text));
            lines.extend(chain_lines(&last.chain, style));
        }
    }
    lines.extend(now_lines(&package.now, style));
    if let Some(compared) = &package.compared {
        let is_right = matches!(package.now, Verdict::UpToDate { .. });
        lines.extend(compared_lines(compared, is_right, style));
    }
    lines
}

fn because(reasons: &[BuildReason]) -> String {
    match reasons {
        [] => "its record does not say why".to_owned(),
        reasons => reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    }
}

/// Returns why something was built; that it was never built is no longer true of it.
fn was_because(reasons: &[BuildReason]) -> String {
    match reasons {
        [BuildReason::NeverBuilt] => "for the first time".to_owned(),
        reasons => because(reasons),
    }
}

fn chain_lines(chain: &[CausedBy], style: &Style) -> Vec<String> {
    chain
        .iter()
        .flat_map(|link| {
            let text = format!(
                "{} caused {}; it was built itself: {}",
                link.package,
                link.caused,
                was_because(&link.reasons)
            );
            style.lines("    cause:   ", &text)
        })
        .collect()
}

fn now_lines(now: &Verdict, style: &Style) -> Vec<String> {
    let lead = "  now:       ";
    match now {
        Verdict::Build { reasons, release, chain } => {
            let release = release.as_ref().map(|release| format!("; {release}")).unwrap_or_default();
            let mut lines = style.lines(lead, &format!("will be built: {}{release}", because(reasons)));
            lines.extend(chain_lines(chain, style));
            lines
        }
        Verdict::Deferred { reasons, layer, chain } => {
            let text = format!(
                "due, but not built: it is in layer {layer} of a cascade, beyond the limit \
                 (max-cascading-rebuilds): {}",
                because(reasons)
            );
            let mut lines = style.lines(lead, &text);
            lines.extend(chain_lines(chain, style));
            lines
        }
        Verdict::UpToDate { could_follow: None } => style.lines(lead, "up to date, will not be built"),
        Verdict::UpToDate { could_follow: Some(possible) } => style.lines(
            lead,
            &format!(
                "up to date; it follows {} if that does not come out identical in what {} sees of it",
                possible.by, possible.package
            ),
        ),
        Verdict::Ignored => style.lines(lead, "left alone, as asked"),
        Verdict::NotPlanned => style.lines(lead, "not among the specs that can be built here"),
        Verdict::Waiting { causes } => {
            let mut lines = style.lines(lead, "waits for what first builds will show");
            lines.extend(cause_lines(&causes.iter().collect::<Vec<_>>(), "it waits for:", style));
            lines
        }
        Verdict::Blocked { causes } => {
            let mut lines = style.lines(lead, "cannot be built");
            lines.extend(cause_lines(&causes.iter().collect::<Vec<_>>(), "it is blocked by:", style));
            lines
        }
    }
}

/// Returns the policy's word as the configuration writes it.
fn word(policy: RebuildPolicy) -> &'static str {
    match policy {
        RebuildPolicy::Local => "local",
        RebuildPolicy::Relevant => "relevant",
        RebuildPolicy::Direct => "direct",
        RebuildPolicy::Exact => "exact",
    }
}

fn compared_lines(compared: &Compared, is_right: bool, style: &Style) -> Vec<String> {
    let files = compared.files.map_or_else(
        || "its source package".to_owned(),
        |files| format!("{} of its source package", counted(files, "file")),
    );
    let requirements = match compared.policy {
        RebuildPolicy::Local => String::new(),
        _ => format!(", providers of {}", counted(compared.requirements, "run-time requirement")),
    };
    let text = format!(
        "{files}, {}, content of {}{requirements}",
        counted(compared.defines, "macro"),
        counted(compared.outputs, "published package"),
    );
    let mut lines = style.lines("  compared:  ", &text);
    let policy = word(compared.policy);
    let root = counted(compared.root_packages, "package");
    let text = match &compared.uncounted {
        None => format!("{root}; none can be made at present to compare it with"),
        Some(changed) if changed.is_empty() => format!("{root}, all as they are now"),
        Some(changed) => {
            format!("{root}; {} of them changed without counting under policy {policy}", changed.len())
        }
    };
    lines.extend(style.lines("  root:      ", &text));
    for reason in compared.uncounted.iter().flatten().take(if style.whole { usize::MAX } else { SHOWN }) {
        if let BuildReason::BuildRequirementChanged { package, recorded, present, .. } = reason {
            let side = |nevra: &Option<rpm_model::Nevra>| {
                nevra.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string)
            };
            let text = format!("{package}: {} -> {}", side(recorded), side(present));
            lines.extend(style.lines("             ", &text));
        }
    }
    let changed = compared.uncounted.as_ref().map_or(0, Vec::len);
    if changed > SHOWN && !style.whole {
        lines.extend(
            style.lines("             ", &format!("... and {} more (--all shows all)", changed - SHOWN)),
        );
    }
    if is_right {
        for stricter in &compared.stricter {
            let what = if stricter.reasons.is_empty() {
                "up to date as well".to_owned()
            } else {
                let first = &stricter.reasons[0];
                let more = stricter.reasons.len() - 1;
                let more = if more == 0 { String::new() } else { format!(" and {more} more") };
                format!("would be built: {first}{more}")
            };
            lines.extend(style.lines("  stricter:  ", &format!("{}: {what}", word(stricter.policy))));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::why::{LastBuild, Stricter};

    #[test]
    fn each_part_of_an_answer_is_told() {
        let changed = BuildReason::BuildRequirementChanged {
            package: "gcc".into(),
            recorded: Some("gcc-12-1.x86_64".parse().unwrap()),
            present: Some("gcc-13-1.x86_64".parse().unwrap()),
            by: Some("gcc".into()),
        };
        let lost = BuildReason::RequirementLost {
            package: "jq".into(),
            requirement: "libonig.so.5".into(),
            by: Some("onig".into()),
            library: None,
        };
        let package = WhyPackage {
            asked: "libjq".into(),
            package: "jq".into(),
            last: Some(LastBuild {
                published: None,
                source: "jq-1-1.src".parse().unwrap(),
                reasons: vec![lost],
                chain: vec![CausedBy {
                    package: "onig".into(),
                    caused: "jq".into(),
                    reasons: vec![BuildReason::Requested],
                }],
                seconds: 12.0,
            }),
            unreadable_record: None,
            now: Verdict::UpToDate { could_follow: None },
            compared: Some(Compared {
                policy: RebuildPolicy::Relevant,
                files: Some(3),
                defines: 2,
                outputs: 1,
                requirements: 4,
                root_packages: 90,
                uncounted: Some(vec![changed.clone()]),
                stricter: vec![
                    Stricter { policy: RebuildPolicy::Direct, reasons: vec![] },
                    Stricter { policy: RebuildPolicy::Exact, reasons: vec![changed] },
                ],
            }),
        };
        let document = WhyDocument { schema: WhyDocument::SCHEMA, packages: vec![package] };
        let text = why_text(&document, &Style { width: 200, whole: false });
        let expected = "\
jq (jq-1-1.src), which yields libjq
  built:     jq requires `libonig.so.5`, which nothing provides any more since `onig` was built (it took 12 s)
    cause:   onig caused jq; it was built itself: its rebuild was asked for
  now:       up to date, will not be built
  compared:  3 files of its source package, 2 macros, content of 1 published package, providers of 4 run-time requirements
  root:      90 packages; 1 of them changed without counting under policy relevant
             gcc: gcc-12-1.x86_64 -> gcc-13-1.x86_64
  stricter:  direct: up to date as well
  stricter:  exact: would be built: gcc in its build root changed (gcc-12-1.x86_64 -> gcc-13-1.x86_64)";
        assert_eq!(text, expected, "\n{text}");
    }
}
