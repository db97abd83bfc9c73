//! Random sets of requirements over the packages of a repository, the same for the same seed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use rpm_model::{Comparison, Dependency, Evr, Nevra, PackageHeader, Requirement};
use rpm_writer::{Package, Payload};

/// What a build could ask for, made up.
#[derive(Clone, Debug)]
pub struct RequirementSet {
    /// Its place in the series.
    pub number: usize,
    /// What must be there.
    pub requires: Vec<Requirement>,
    /// What must not.
    pub conflicts: Vec<Requirement>,
}

/// How many names a set asks for at most.
const MOST_REQUIREMENTS: usize = 6;

/// Draws sets of names, capabilities, paths, version ranges and boolean expressions; some are impossible.
///
/// # Panics
/// When there are no packages.
pub fn requirement_sets(packages: &[&PackageHeader], seed: u64, count: usize) -> Vec<RequirementSet> {
    let mut drawer = Drawer { packages, random: Rng::with_seed(seed) };
    (0..count)
        .map(|number| {
            let size = drawer.random.usize(1..=MOST_REQUIREMENTS);
            let requires = (0..size).map(|_| drawer.requirement()).collect();
            let conflicts = if drawer.one_in(8) { vec![drawer.capability().into()] } else { Vec::new() };
            RequirementSet { number, requires, conflicts }
        })
        .collect()
}

struct Drawer<'p> {
    packages: &'p [&'p PackageHeader],
    random: Rng,
}

impl<'p> Drawer<'p> {
    fn one_in(&mut self, number: u32) -> bool {
        self.random.u32(..number) == 0
    }

    fn package(&mut self) -> &'p PackageHeader {
        self.random.choice(self.packages).copied().expect("there are packages to draw from")
    }

    fn requirement(&mut self) -> Requirement {
        match self.random.u32(..100) {
            0..30 => self.name().into(),
            30..55 => self.capability().into(),
            55..78 => {
                // What packages themselves require is what requirements look like.
                let package = self.package();
                self.random.choice(&package.requires).cloned().unwrap_or_else(|| self.name().into())
            }
            78..86 => {
                let package = self.package();
                let path = self.random.choice(&package.files);
                path.map_or_else(|| self.name(), Dependency::any).into()
            }
            86..98 => self.expression(),
            _ => Dependency::any(format!("nothing-has-this-name-{}", self.random.u16(..))).into(),
        }
    }

    /// A package's name, sometimes with a range around its version.
    fn name(&mut self) -> Dependency {
        let nevra = &self.package().nevra;
        let comparison = match self.random.u32(..20) {
            0..13 => return Dependency::any(&nevra.name),
            13 => Comparison::Equal,
            14..17 => Comparison::GreaterOrEqual,
            17 => Comparison::LessOrEqual,
            18 => Comparison::Less,
            _ => Comparison::Greater,
        };
        let release = nevra.evr.release.as_deref().filter(|_| self.random.bool());
        let evr = Evr::new(nevra.evr.epoch, &nevra.evr.version, release);
        Dependency::versioned(&nevra.name, comparison, evr)
    }

    /// Something that a package provides, mostly in whatever version.
    fn capability(&mut self) -> Dependency {
        let package = self.package();
        let Some(provide) = self.random.choice(&package.provides) else { return self.name() };
        if self.one_in(3) { provide.clone() } else { Dependency::any(&provide.name) }
    }

    fn expression(&mut self) -> Requirement {
        let mut part = || if self.random.bool() { self.name() } else { self.capability() };
        let (a, b, c) = (part(), part(), part());
        let text = match self.random.u32(..11) {
            0 => format!("({a} and {b})"),
            1 => format!("({a} or {b} or {c})"),
            2 => format!("({a} if {b})"),
            3 => format!("({a} if {b} else {c})"),
            4 => format!("({a} with {b})"),
            5 => format!("({a} without {b})"),
            6 => format!("(({a} and {b}) or {c})"),
            7 => format!("(({a} or {b}) if {c})"),
            8 => format!("(({a} unless {b}) or {c})"),
            9 => format!("({c} or ({a} unless {b} else {c}))"),
            _ => format!("({a} and ({b} if {c}))"),
        };
        // A name with a blank or a comma in it can stand in no expression.
        text.parse().unwrap_or_else(|_| a.into())
    }
}

impl RequirementSet {
    /// Returns the name of the package that asks for the set.
    pub fn package_name(&self) -> String {
        format!("millwright-question-{}", self.number)
    }

    /// Returns the identity of that package.
    pub fn nevra(&self) -> Nevra {
        Nevra::new(self.package_name(), Evr::new(0, "1", Some("1")), "noarch")
    }

    /// Writes a package that requires and conflicts with what the set says: installing it asks for the set in
    /// dependencies' own terms, which no argument of a command can do for all of them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_package(&self, directory: &Path) -> io::Result<PathBuf> {
        let mut package = Package::new(self.package_name(), "1", "1", "noarch");
        let texts = |list: &[Requirement]| {
            list.iter().map(|one| rpm_writer::Dependency::parse(&one.to_string())).collect()
        };
        package.provides = vec![rpm_writer::Dependency::equal(self.package_name(), "1-1")];
        package.requires = texts(&self.requires);
        package.conflicts = texts(&self.conflicts);
        let bytes = Payload::pack(Vec::new()).and_then(|payload| package.to_bytes(&payload));
        let path = directory.join(package.file_name());
        fs::write(&path, bytes.map_err(io::Error::other)?)?;
        Ok(path)
    }

    /// Returns the set in a line.
    pub fn words(&self) -> String {
        let list = |list: &[Requirement]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let conflicts = list(&self.conflicts);
        let conflicts = if conflicts.is_empty() { conflicts } else { format!("; conflicts: {conflicts}") };
        format!("#{}: {}{conflicts}", self.number, list(&self.requires))
    }
}
