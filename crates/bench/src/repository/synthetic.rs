//! A made-up repository of any size, as metadata alone: the shape of a large distribution's, without its packages.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use fastrand::Rng;
use rpm_model::ContentDigest;

use crate::error::BenchError;

/// Files per package; half of what a distribution has on average.
pub(crate) const FILES: usize = 60;

/// Returns a number below `limit`, small ones far more often than large ones.
fn popular(numbers: &mut Rng, limit: usize) -> usize {
    let limit = numbers.usize(0..limit) + 1;
    let limit = numbers.usize(0..limit) + 1;
    numbers.usize(0..limit)
}

/// Writes the metadata of a repository of so many packages.
pub(crate) fn write(directory: &Path, count: usize) -> Result<(), BenchError> {
    let repodata = directory.join("repodata");
    fs::create_dir_all(&repodata).map_err(BenchError::io("create", &repodata))?;
    let mut numbers = Rng::with_seed(count as u64);
    let primary = Document::create(&repodata, "primary")?;
    let filelists = Document::create(&repodata, "filelists")?;
    let (mut primary, mut filelists) = (primary, filelists);
    primary.text(&format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{count}\">\n"
    ))?;
    filelists.text(&format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<filelists xmlns=\"http://linux.duke.edu/metadata/filelists\" \
         packages=\"{count}\">\n"
    ))?;
    for number in 0..count {
        let package = Package::new(number, count, &mut numbers);
        primary.text(&package.primary())?;
        filelists.text(&package.filelists())?;
    }
    primary.text("</metadata>\n")?;
    filelists.text("</filelists>\n")?;
    let records = [primary.finish()?, filelists.finish()?].concat();
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\">\n\
         <revision>1</revision>\n{records}</repomd>\n"
    );
    let path = repodata.join("repomd.xml");
    fs::write(&path, text).map_err(BenchError::io("write", &path))
}

/// Returns the name of a package.
pub(crate) fn name(number: usize) -> String {
    const KINDS: [&str; 6] = ["lib", "python3-", "perl-", "golang-", "rubygem-", ""];
    const ENDINGS: [&str; 4] = ["", "-devel", "-libs", "-doc"];
    format!("{}word{}{}", KINDS[number % KINDS.len()], number / 4, ENDINGS[number % ENDINGS.len()])
}

struct Package {
    name: String,
    version: String,
    digest: ContentDigest,
    provides: Vec<String>,
    requires: Vec<String>,
    files: Vec<String>,
}

impl Package {
    fn new(number: usize, count: usize, numbers: &mut Rng) -> Self {
        let name = name(number);
        let version = format!("{}.{}.{}", numbers.usize(0..12), numbers.usize(0..40), numbers.usize(0..9));
        let soname = |number: usize, version: usize| format!("libword{number}.so.{version}()(64bit)");
        let mut provides = vec![
            entry(&name, Some(&version)),
            entry(&format!("{name}(x86-64)"), Some(&version)),
            entry(&soname(number, number % 7), None),
            entry(&format!("libword{number}.so.{}(WORD_1.0)(64bit)", number % 7), None),
        ];
        provides.extend(
            (0..numbers.usize(0..8))
                .map(|more| entry(&format!("kind{more}(word{number}::part{more})"), Some(&version))),
        );
        let mut requires = vec![entry("libc.so.6()(64bit)", None), entry("rtld(GNU_HASH)", None)];
        for _ in 0..6 + numbers.usize(0..14) {
            let other = popular(numbers, count);
            requires.push(match numbers.usize(0..3) {
                0 => entry(&self::name(other), None),
                _ => entry(&soname(other, other % 7), None),
            });
        }
        let directory = format!("/usr/share/{name}-{version}/resources");
        let mut files =
            vec![format!("/usr/bin/{name}"), format!("/usr/lib64/libword{number}.so.{}", number % 7)];
        files.extend((0..FILES).map(|file| format!("{directory}/file{file}.data")));
        let digest = ContentDigest::of_bytes(name.as_bytes());
        Self { name, version, digest, provides, requires, files }
    }

    fn primary(&self) -> String {
        let Self { name, version, digest, .. } = self;
        format!(
            "<package type=\"rpm\"><name>{name}</name><arch>x86_64</arch><version epoch=\"0\" ver=\"{version}\" \
             rel=\"1\"/><checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum><summary>The package {name} \
             </summary><description>It does what {name} does.</description><packager/><url>https://example.org/{name}\
             </url><time file=\"1\" build=\"1\"/><size package=\"10240\" installed=\"20480\" archive=\"20480\"/>\
             <location href=\"Packages/{name}-{version}-1.x86_64.rpm\"/><format><rpm:license>MIT</rpm:license>\
             <rpm:vendor/><rpm:group>Unspecified</rpm:group><rpm:buildhost>h</rpm:buildhost><rpm:sourcerpm>\
             {name}-{version}-1.src.rpm</rpm:sourcerpm><rpm:header-range start=\"1\" end=\"2\"/>\n<rpm:provides>{}\
             </rpm:provides>\n<rpm:requires>{}</rpm:requires>\n<file>/usr/bin/{name}</file></format></package>\n",
            self.provides.concat(),
            self.requires.concat()
        )
    }

    fn filelists(&self) -> String {
        let Self { name, version, digest, .. } = self;
        let mut text = format!(
            "<package pkgid=\"{digest}\" name=\"{name}\" arch=\"x86_64\"><version epoch=\"0\" ver=\"{version}\" rel=\"1\"/>\n"
        );
        for file in &self.files {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "<file>{file}</file>");
        }
        text.push_str("</package>\n");
        text
    }
}

fn entry(name: &str, version: Option<&str>) -> String {
    match version {
        Some(version) => {
            format!("<rpm:entry name=\"{name}\" flags=\"EQ\" epoch=\"0\" ver=\"{version}\" rel=\"1\"/>")
        }
        None => format!("<rpm:entry name=\"{name}\"/>"),
    }
}

/// A metadata file on its way to the disk.
struct Document {
    kind: &'static str,
    path: std::path::PathBuf,
    encoder: zstd::Encoder<'static, BufWriter<File>>,
}

impl Document {
    fn create(repodata: &Path, kind: &'static str) -> Result<Self, BenchError> {
        let path = repodata.join(format!("{kind}.xml.zst"));
        let fail = |error| BenchError::io("create", &path)(error);
        let file = File::create(&path).map_err(fail)?;
        let encoder = zstd::Encoder::new(BufWriter::new(file), 3).map_err(fail)?;
        Ok(Self { kind, path, encoder })
    }

    fn text(&mut self, text: &str) -> Result<(), BenchError> {
        self.encoder.write_all(text.as_bytes()).map_err(BenchError::io("write", &self.path))
    }

    /// Returns its record for `repomd.xml`.
    fn finish(self) -> Result<String, BenchError> {
        let Self { kind, path, encoder } = self;
        let fail = |error| BenchError::io("write", &path)(error);
        encoder.finish().and_then(|mut file| file.flush()).map_err(fail)?;
        let bytes = fs::read(&path).map_err(fail)?;
        let digest = ContentDigest::of_bytes(&bytes);
        Ok(format!(
            "<data type=\"{kind}\"><checksum type=\"sha256\">{digest}</checksum><location href=\"repodata/{kind}.xml.zst\"/>\
             <timestamp>1</timestamp><size>{}</size></data>\n",
            bytes.len()
        ))
    }
}
