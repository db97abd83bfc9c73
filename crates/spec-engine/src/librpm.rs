//! The few functions of librpmbuild, librpm and librpmio that a parse needs, loaded at run time.
//!
//! Signatures are those of rpm's public headers (`rpmbuild.h`, `rpmspec.h`, `rpmlib.h`, `rpmmacro.h`,
//! `header.h`), unchanged from 4.14 to 4.20; the library is whichever the surrounding root has. librpm keeps its
//! state in globals and its parser is not for threads, so a [`Library`] is neither `Send` nor `Sync`.
//!
//! What it is not: it decides nothing; which calls come in which order is `parse.rs`.

#![expect(non_snake_case, reason = "fields bear the names of rpm's functions")]

use std::ffi::{CStr, CString, OsString, c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::ptr;

use libloading::os::unix::{Library as Object, RTLD_GLOBAL, RTLD_NOW};

/// Names under which librpmbuild is installed, newest interface first.
const OBJECTS: [&str; 4] = ["librpmbuild.so.10", "librpmbuild.so.9", "librpmbuild.so.8", "librpmbuild.so.11"];

/// `RPMSPEC_ANYARCH | RPMSPEC_FORCE`: parse for any architecture, with or without sources, as rpmspec does.
const SPEC_FLAGS: c_int = 1 | 1 << 1;
/// `RPMBUILD_NONE`: as a section, the whole expanded text.
const WHOLE_TEXT: c_int = 0;

/// How strongly a macro definition counts, as `rpmmacro.h` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum MacroLevel {
    /// As of a macro file.
    MacroFile = -13,
    /// As of a `--define`.
    CommandLine = -7,
}

/// Why rpm cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LibraryError {
    #[error("cannot load librpmbuild: {0}")]
    Load(#[source] libloading::Error),
    #[error("librpmbuild lacks a function: {0}")]
    Symbol(#[source] libloading::Error),
    #[error("rpm cannot read its configuration for {target}")]
    Configuration { target: String },
    #[error("rpm cannot load the macro file {file}")]
    MacroFile { file: String },
    #[error("rpm refuses the definition `{definition}`")]
    Definition { definition: String },
    #[error("{0:?} contains a zero byte")]
    Text(String),
}

type Opaque = *mut c_void;

macro_rules! functions {
    ($($field:ident: fn($($argument:ty),*) -> $result:ty;)*) => {
        /// librpm, with the functions that are called.
        pub(crate) struct Library {
            $($field: unsafe extern "C" fn($($argument),*) -> $result,)*
            version: String,
            /// Keeps the functions valid.
            _object: Object,
            /// Neither `Send` nor `Sync`.
            _local: PhantomData<*mut ()>,
        }

        impl Library {
            /// Loads librpmbuild and what it needs.
            pub(crate) fn load() -> Result<Self, LibraryError> {
                let object = open()?;
                // SAFETY: each symbol is a function of this type in rpm's public headers.
                unsafe {
                    $(let $field = *object
                        .get::<unsafe extern "C" fn($($argument),*) -> $result>(stringify!($field).as_bytes())
                        .map_err(LibraryError::Symbol)?;)*
                    let version = version(&object)?;
                    Ok(Self { $($field,)* version, _object: object, _local: PhantomData })
                }
            }
        }
    };
}

functions! {
    rpmReadConfigFiles: fn(*const c_char, *const c_char) -> c_int;
    rpmLoadMacroFile: fn(Opaque, *const c_char) -> c_int;
    rpmDefineMacro: fn(Opaque, *const c_char, c_int) -> c_int;
    rpmExpandMacros: fn(Opaque, *const c_char, *mut *mut c_char, c_int) -> c_int;
    rpmSpecParse: fn(*const c_char, c_int, *const c_char) -> Opaque;
    rpmSpecSourceHeader: fn(Opaque) -> Opaque;
    rpmSpecGetSection: fn(Opaque, c_int) -> *const c_char;
    rpmSpecPkgIterInit: fn(Opaque) -> Opaque;
    rpmSpecPkgIterNext: fn(Opaque) -> Opaque;
    rpmSpecPkgIterFree: fn(Opaque) -> Opaque;
    rpmSpecPkgHeader: fn(Opaque) -> Opaque;
    headerPutString: fn(Opaque, c_int, *const c_char) -> c_int;
    headerFormat: fn(Opaque, *const c_char, *mut *const c_char) -> *mut c_char;
    headerExport: fn(Opaque, *mut c_uint) -> Opaque;
}

fn open() -> Result<Object, LibraryError> {
    let mut first = None;
    for name in OBJECTS {
        // SAFETY: loading rpm runs its initialisers, which only set up its own data.
        match unsafe { Object::open(Some(OsString::from(name)), RTLD_NOW | RTLD_GLOBAL) } {
            Ok(object) => return Ok(object),
            // The usual name's message is the one that helps.
            Err(error) if name == OBJECTS[1] || first.is_none() => first = Some(error),
            Err(_) => {}
        }
    }
    Err(LibraryError::Load(first.unwrap_or(libloading::Error::DlOpenUnknown)))
}

/// Reads `extern const char * const RPMVERSION`.
///
/// # Safety
///
/// `object` is librpmbuild or depends on librpm.
unsafe fn version(object: &Object) -> Result<String, LibraryError> {
    // SAFETY: the symbol is a pointer to a constant text, by rpm's headers and the caller's promise.
    unsafe {
        let symbol = object.get::<*const *const c_char>(b"RPMVERSION").map_err(LibraryError::Symbol)?;
        Ok(text(**symbol).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default())
    }
}

/// Returns the bytes of a C text, `None` of a null pointer.
///
/// # Safety
///
/// `pointer` is null or a text that lives as long as the result is used.
unsafe fn text<'a>(pointer: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_bytes())
}

/// Memory that rpm gave away, freed when dropped.
struct Given(*mut c_void);

impl Drop for Given {
    fn drop(&mut self) {
        // SAFETY: the pointer came from rpm's malloc and nobody else has it; null is allowed.
        unsafe { nix::libc::free(self.0) }
    }
}

pub(crate) fn c_text(text: &str) -> Result<CString, LibraryError> {
    CString::new(text).map_err(|_| LibraryError::Text(text.to_owned()))
}

impl Library {
    /// Returns rpm's version, for example `4.18.0`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Reads rpm's configuration for an architecture; comes first, once.
    pub(crate) fn configure(&self, target: &str) -> Result<(), LibraryError> {
        let name = c_text(target)?;
        // SAFETY: a null file name asks for the usual files; the other is a text.
        let failed = unsafe { (self.rpmReadConfigFiles)(ptr::null(), name.as_ptr()) } != 0;
        if failed { Err(LibraryError::Configuration { target: target.to_owned() }) } else { Ok(()) }
    }

    /// Loads a macro file on top of what is defined.
    pub(crate) fn load_macros(&self, file: &str) -> Result<(), LibraryError> {
        let name = c_text(file)?;
        // SAFETY: a null context is the global one.
        let failed = unsafe { (self.rpmLoadMacroFile)(ptr::null_mut(), name.as_ptr()) } != 0;
        if failed { Err(LibraryError::MacroFile { file: file.to_owned() }) } else { Ok(()) }
    }

    /// Defines a macro, `name body`.
    pub(crate) fn define(&self, definition: &str, level: MacroLevel) -> Result<(), LibraryError> {
        let text = c_text(definition)?;
        // SAFETY: a null context is the global one.
        let failed = unsafe { (self.rpmDefineMacro)(ptr::null_mut(), text.as_ptr(), level as c_int) } != 0;
        if failed { Err(LibraryError::Definition { definition: definition.to_owned() }) } else { Ok(()) }
    }

    /// Expands macros; `None` where rpm reports an error.
    pub(crate) fn expand(&self, source: &str) -> Option<Vec<u8>> {
        let source = c_text(source).ok()?;
        let mut expanded = ptr::null_mut();
        // SAFETY: the result is a new text, or null.
        let status =
            unsafe { (self.rpmExpandMacros)(ptr::null_mut(), source.as_ptr(), &raw mut expanded, 0) };
        let given = Given(expanded.cast());
        // SAFETY: `given` is a text or null, and lives until after the copy.
        let bytes = unsafe { text(given.0.cast()) }.map(<[u8]>::to_vec);
        bytes.filter(|_| status >= 0)
    }

    /// Parses a spec; `None` where rpm refuses it, which it has told on standard error.
    pub(crate) fn parse(&self, spec: &CStr) -> Option<Spec<'_>> {
        // SAFETY: no build root is given, as rpmspec gives none.
        let spec = unsafe { (self.rpmSpecParse)(spec.as_ptr(), SPEC_FLAGS, ptr::null()) };
        (!spec.is_null()).then_some(Spec { library: self, spec })
    }
}

/// A parsed spec. Never freed: the process that parsed it ends.
pub(crate) struct Spec<'l> {
    library: &'l Library,
    spec: Opaque,
}

/// Numbers of header tags, by rpm's headers.
#[derive(Clone, Copy)]
pub(crate) enum Tag {
    RpmVersion = 1064,
    /// The parsed text.
    Spec = 5099,
}

/// A header of a parsed spec.
pub(crate) struct Header<'s> {
    library: &'s Library,
    header: Opaque,
}

impl Spec<'_> {
    /// Returns the text with macros expanded and conditions decided.
    pub(crate) fn text(&self) -> &[u8] {
        // SAFETY: the spec is valid and owns the text.
        unsafe { text((self.library.rpmSpecGetSection)(self.spec, WHOLE_TEXT)) }.unwrap_or_default()
    }

    /// Returns the header of the source package.
    pub(crate) fn source(&self) -> Header<'_> {
        // SAFETY: the spec is valid and owns the header.
        let header = unsafe { (self.library.rpmSpecSourceHeader)(self.spec) };
        Header { library: self.library, header }
    }

    /// Returns the headers of the binary packages, in the order of the spec.
    pub(crate) fn packages(&self) -> Vec<Header<'_>> {
        let library = self.library;
        let mut packages = Vec::new();
        // SAFETY: the spec is valid and owns packages and headers; the iterator is used up and freed.
        unsafe {
            let iterator = (library.rpmSpecPkgIterInit)(self.spec);
            loop {
                let package = (library.rpmSpecPkgIterNext)(iterator);
                if package.is_null() {
                    break;
                }
                packages.push(Header { library, header: (library.rpmSpecPkgHeader)(package) });
            }
            (library.rpmSpecPkgIterFree)(iterator);
        }
        packages
    }
}

impl Header<'_> {
    /// Appends a query format, filled in; returns rpm's words where it refuses the format.
    pub(crate) fn format(&self, format: &CStr, output: &mut Vec<u8>) -> Result<(), String> {
        let mut message: *const c_char = ptr::null();
        // SAFETY: header and format are valid; the result is a new text or null, the message a constant.
        unsafe {
            let given =
                Given((self.library.headerFormat)(self.header, format.as_ptr(), &raw mut message).cast());
            match text(given.0.cast()) {
                Some(bytes) => output.extend_from_slice(bytes),
                None => return Err(String::from_utf8_lossy(text(message).unwrap_or_default()).into_owned()),
            }
        }
        Ok(())
    }

    /// Sets a text that only `rpmbuild -bs` would set; a text with a NUL inside, which no header can hold, is
    /// not set.
    pub(crate) fn put(&self, tag: Tag, text: &[u8]) {
        let Ok(text) = CString::new(text) else { return };
        // SAFETY: header and text are valid; the text is copied.
        unsafe { (self.library.headerPutString)(self.header, tag as c_int, text.as_ptr()) };
    }

    /// Returns the header in rpm's exported form.
    pub(crate) fn export(&self) -> Vec<u8> {
        let mut size: c_uint = 0;
        // SAFETY: the header is valid; the result is `size` new bytes or null.
        unsafe {
            let given = Given((self.library.headerExport)(self.header, &raw mut size));
            if given.0.is_null() {
                return Vec::new();
            }
            std::slice::from_raw_parts(given.0.cast::<u8>(), size as usize).to_vec()
        }
    }
}
