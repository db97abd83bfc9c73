//! Tiny specs: as small as a package can be that still shows one property.

use std::fmt::Write;

/// A spec in the making; [`Spec::text`] is the file.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) name: String,
    version: String,
    preamble: Vec<String>,
    description: String,
    packages: String,
    prep: String,
    generate: Option<String>,
    build: String,
    install: String,
    check: Option<String>,
    files: String,
}

impl Spec {
    /// A noarch package of one file, `/usr/share/<name>/text`.
    pub(crate) fn data(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: "1.0".to_owned(),
            preamble: vec!["BuildArch: noarch".to_owned()],
            description: format!("The package {name} of a test."),
            packages: String::new(),
            prep: "%setup -q -c -T\n".to_owned(),
            generate: None,
            build: String::new(),
            install: format!(
                "mkdir -p %{{buildroot}}/usr/share/{name}\necho {name} > %{{buildroot}}/usr/share/{name}/text\n"
            ),
            check: None,
            files: format!("/usr/share/{name}\n"),
        }
    }

    /// A C library `lib<name>.so.<soname>` with a `-devel` package; its function `<name>()` returns `answer`.
    pub(crate) fn library(name: &str, soname: &str, answer: i32) -> Self {
        let mut spec = Self::data(name);
        spec.preamble = vec!["BuildRequires: gcc".to_owned()];
        spec.packages =
            "%package devel\nSummary: Headers\nRequires: %{name}%{?_isa} = %{version}-%{release}\n\
                         %description devel\nHeaders.\n"
                .to_owned();
        let _ = write!(
            spec.prep,
            "echo 'int {name}(void);' > {name}.h\necho 'int {name}(void) {{ return {answer}; }}' > {name}.c\n"
        );
        spec.build = format!(
            "gcc %{{optflags}} %{{?build_ldflags}} -shared -fPIC -Wl,-soname,lib{name}.so.{soname} -o lib{name}.so.{soname} {name}.c\n"
        );
        spec.install = format!(
            "install -D -m 755 lib{name}.so.{soname} %{{buildroot}}%{{_libdir}}/lib{name}.so.{soname}\n\
             ln -s lib{name}.so.{soname} %{{buildroot}}%{{_libdir}}/lib{name}.so\n\
             install -D -m 644 {name}.h %{{buildroot}}%{{_includedir}}/{name}.h\n"
        );
        spec.files = format!(
            "%{{_libdir}}/lib{name}.so.{soname}\n\n%files devel\n%{{_libdir}}/lib{name}.so\n%{{_includedir}}/{name}.h\n"
        );
        spec
    }

    /// A C program that prints what the function of a [`Spec::library`] returns.
    pub(crate) fn program(name: &str, library: &str) -> Self {
        let mut spec = Self::data(name);
        spec.preamble = vec!["BuildRequires: gcc".to_owned(), format!("BuildRequires: {library}-devel")];
        let _ = write!(
            spec.prep,
            "cat > {name}.c <<'END'\n#include <stdio.h>\n#include <{library}.h>\n\
             int main(void) {{ return printf(\"{name} %d\\n\", {library}()) < 0; }}\nEND\n"
        );
        spec.build = format!("gcc %{{optflags}} %{{?build_ldflags}} -o {name} {name}.c -l{library}\n");
        spec.install = format!("install -D -m 755 {name} %{{buildroot}}%{{_bindir}}/{name}\n");
        spec.files = format!("%{{_bindir}}/{name}\n");
        spec
    }

    /// Makes it a package for the architecture that is built for.
    pub(crate) fn for_one_architecture(mut self) -> Self {
        self.preamble.retain(|line| line != "BuildArch: noarch");
        self
    }

    pub(crate) fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    /// Adds a line such as `Requires: x`.
    pub(crate) fn tag(mut self, line: &str) -> Self {
        self.preamble.push(line.to_owned());
        self
    }

    pub(crate) fn needs(self, requirement: &str) -> Self {
        self.tag(&format!("BuildRequires: {requirement}"))
    }

    /// Sets `%generate_buildrequires`.
    pub(crate) fn generate(mut self, script: &str) -> Self {
        self.generate = Some(format!("{script}\n"));
        self
    }

    /// Adds lines to `%build`.
    pub(crate) fn build(mut self, script: &str) -> Self {
        self.build.push_str(script);
        self.build.push('\n');
        self
    }

    /// Adds lines to `%install`.
    pub(crate) fn install(mut self, script: &str) -> Self {
        self.install.push_str(script);
        self.install.push('\n');
        self
    }

    /// Adds a line to `%files`.
    pub(crate) fn file(mut self, path: &str) -> Self {
        self.files.push_str(path);
        self.files.push('\n');
        self
    }

    /// Adds a scriptlet of the package, for example `%post`.
    pub(crate) fn scriptlet(mut self, section: &str, script: &str) -> Self {
        let _ = write!(self.files, "\n{section}\n{script}\n");
        self
    }

    pub(crate) fn check(mut self, script: &str) -> Self {
        self.check = Some(format!("{script}\n"));
        self
    }

    /// Returns the file.
    pub(crate) fn text(&self) -> String {
        let section = "%generate_buildrequires";
        let generate = self.generate.as_ref().map(|script| format!("{section}\n{script}\n"));
        let generate = generate.unwrap_or_default();
        let check = self.check.as_ref().map(|script| format!("%check\n{script}\n")).unwrap_or_default();
        format!(
            "Name: {}\nVersion: {}\nRelease: 1%{{?dist}}\nSummary: Part of a test\nLicense: MIT\n{}\n\n\
             %description\n{}\n\n{}\n%prep\n{}\n{generate}%build\n{}\n%install\n{}\n{check}%files\n{}\n%changelog\n\
             * Fri Nov 20 2026 Millwright Tests <tests@millwright.invalid> - {}-1\n- First package\n",
            self.name,
            self.version,
            self.preamble.join("\n"),
            self.description,
            self.packages,
            self.prep,
            self.build,
            self.install,
            self.files,
            self.version,
        )
    }
}
