//! A reader of BTF (Documentation/bpf/btf.rst in the kernel's tree), as far as offsets of members need it.
//!
//! The library that loads the programs parses BTF as well, but keeps members to itself; see
//! docs/decisions/0014-kernel-btf.md. Knows no struct of the kernel.

use anyhow::{Context, Result, bail, ensure};

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
const TYPE_HEADER_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;

/// Kinds of types.
pub(super) const INT: u32 = 1;
pub(super) const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FWD: u32 = 7;
pub(super) const TYPEDEF: u32 = 8;
pub(super) const FUNC: u32 = 12;
pub(super) const FUNC_PROTO: u32 = 13;
pub(super) const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const ENUM64: u32 = 19;
const KINDS: usize = 20;

/// The kinds that are looked up by name.
const NAMED: [u32; 4] = [STRUCT, TYPEDEF, FUNC, VAR];

/// BTF with an index of where each type begins. Types are known by their ids, from 1 on.
pub(super) struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins in `types`, by id.
    starts: Vec<u32>,
    /// The ids of the types of each kind of [`NAMED`].
    of_kind: [Vec<u32>; KINDS],
}

/// The head of a type: `struct btf_type`.
#[derive(Clone, Copy)]
pub(super) struct Type {
    at: usize,
    pub(super) kind: u32,
    /// How many members, parameters or values follow.
    pub(super) members: usize,
    bitfields: bool,
}

impl<'a> Btf<'a> {
    /// Reads `bytes` once, and notes where types are.
    ///
    /// # Errors
    /// When they are not BTF, or cut short.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let word = |at: usize| word(bytes, at);
        ensure!(word(0)? as u16 == MAGIC, "kernel BTF does not begin with its magic number");
        let header = word(4)? as usize;
        let section = |at: usize| -> Result<&'a [u8]> {
            let start = header + word(at)? as usize;
            let end = start + word(at + 4)? as usize;
            bytes.get(start..end).context("kernel BTF is cut short")
        };
        let mut btf = Self {
            types: section(8)?,
            strings: section(16)?,
            starts: vec![0],
            of_kind: Default::default(),
        };
        let mut at = 0;
        while at < btf.types.len() {
            let ty = btf.read(at)?;
            if NAMED.contains(&ty.kind) {
                btf.of_kind[ty.kind as usize].push(btf.starts.len() as u32);
            }
            btf.starts.push(at as u32);
            at = ty.end();
        }
        Ok(btf)
    }

    /// The struct called `name` that has all of `members`: other structs may share its name.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn find_struct(&self, name: &'static str, members: &[&str]) -> Result<Struct<'_>> {
        for id in self.ids(STRUCT, name) {
            let found = Struct { btf: self, name, ty: self.by_id(id)? };
            if members.iter().all(|member| found.offset(&[member]).is_ok()) {
                return Ok(found);
            }
        }
        bail!("kernel BTF has no struct {name} with {}", members.join(" and "))
    }

    /// The type of that kind called `name`, and its id.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn find(&self, kind: u32, name: &str) -> Result<(u32, Type)> {
        let id = self.ids(kind, name).next();
        let id = id.with_context(|| format!("kernel BTF has no {name}"))?;
        Ok((id, self.by_id(id)?))
    }

    fn ids(&self, kind: u32, name: &str) -> impl Iterator<Item = u32> {
        let is_named = move |id: &&u32| self.name_of(**id).is_some_and(|at| self.is(at, name));
        self.of_kind[kind as usize].iter().filter(is_named).copied()
    }

    /// The types of that kind whose names begin with `prefix`: their ids and names.
    pub(super) fn beginning_with(
        &self,
        kind: u32,
        prefix: &'static str,
    ) -> impl Iterator<Item = (u32, &'a [u8])> {
        let names =
            self.of_kind[kind as usize].iter().filter_map(|id| Some((*id, self.name_of(*id)?)));
        names.filter_map(move |(id, at)| {
            let rest = self.strings.get(at as usize..)?;
            rest.starts_with(prefix.as_bytes()).then(|| (id, until_nul(rest)))
        })
    }

    /// The type that `ty` is another name of, or points to.
    ///
    /// # Errors
    /// When BTF is cut short.
    pub(super) fn target(&self, ty: Type) -> Result<Type> {
        // In the place where other kinds have their size.
        self.by_id(word(self.types, ty.at + 8)?)
    }

    /// The type of the parameter `index`, counted from 0, of a function's prototype.
    ///
    /// # Errors
    /// When BTF is cut short.
    pub(super) fn parameter(&self, prototype: Type, index: usize) -> Result<Type> {
        self.by_id(word(self.types, prototype.at + TYPE_HEADER_BYTES + 8 * index + 4)?)
    }

    fn read(&self, at: usize) -> Result<Type> {
        let info = word(self.types, at + 4)?;
        Ok(Type {
            at,
            kind: info >> 24 & 0x1f,
            members: (info & 0xffff) as usize,
            bitfields: info >> 31 == 1,
        })
    }

    fn by_id(&self, id: u32) -> Result<Type> {
        let start = self.starts.get(id as usize).context("kernel BTF is cut short")?;
        self.read(*start as usize)
    }

    /// Where the name of a type is in the strings.
    fn name_of(&self, id: u32) -> Option<u32> {
        word(self.types, *self.starts.get(id as usize)? as usize).ok()
    }

    /// Whether the string at `at` is `name`.
    fn is(&self, at: u32, name: &str) -> bool {
        self.strings.get(at as usize..).is_some_and(|rest| {
            rest.starts_with(name.as_bytes()) && rest.get(name.len()) == Some(&0)
        })
    }

    /// The offset in bytes of `name` in `ty`, also in unnamed structs and unions inside.
    fn member(&self, ty: Type, name: &str) -> Option<u32> {
        for index in 0..ty.members {
            let at = ty.at + TYPE_HEADER_BYTES + index * MEMBER_BYTES;
            let member_name = word(self.types, at).ok()?;
            let offset = word(self.types, at + 8).ok()?;
            // In a struct with bit fields, the upper 8 bits hold a member's width.
            let bits = if ty.bitfields { offset & 0x00ff_ffff } else { offset };
            if self.is(member_name, name) {
                return (bits % 8 == 0).then_some(bits / 8);
            }
            if self.is(member_name, "") {
                let inner = self.by_id(word(self.types, at + 4).ok()?).ok()?;
                if matches!(inner.kind, STRUCT | UNION)
                    && let Some(offset) = self.member(inner, name)
                {
                    return Some(bits / 8 + offset);
                }
            }
        }
        None
    }
}

impl Type {
    /// Where the next type begins.
    const fn end(&self) -> usize {
        let rest = match self.kind {
            INT | VAR | DECL_TAG => 4,
            ARRAY => 12,
            STRUCT | UNION | DATASEC | ENUM64 => MEMBER_BYTES * self.members,
            ENUM | FUNC_PROTO => 8 * self.members,
            _ => 0,
        };
        self.at + TYPE_HEADER_BYTES + rest
    }
}

/// A struct.
pub(super) struct Struct<'a> {
    btf: &'a Btf<'a>,
    name: &'static str,
    ty: Type,
}

impl Struct<'_> {
    /// The offset in bytes of the first of `names` that is a member.
    ///
    /// # Errors
    /// When none is, or the member is a bit field inside a byte.
    pub(super) fn offset(&self, names: &[&str]) -> Result<u32> {
        let offset = names.iter().find_map(|name| self.btf.member(self.ty, name));
        offset.with_context(|| format!("{} has no member {}", self.name, names[0]))
    }
}

/// Writes BTF whose types have the given ids, in ascending order, kinds and names. The types in between are
/// placeholders without a name.
pub(super) fn write<'a>(types: impl Iterator<Item = (u32, u32, &'a [u8])>) -> Vec<u8> {
    let (mut heads, mut strings) = (Vec::new(), vec![0]);
    let head = |name: u32, kind: u32| -> [u8; TYPE_HEADER_BYTES] {
        let mut head = [0; TYPE_HEADER_BYTES];
        head[..4].copy_from_slice(&name.to_ne_bytes());
        head[4..8].copy_from_slice(&(kind << 24).to_ne_bytes());
        head
    };
    for (id, kind, name) in types {
        heads.resize(id as usize - 1, head(0, FWD));
        heads.push(head(strings.len() as u32, kind));
        strings.extend(name);
        strings.push(0);
    }
    let types = heads.as_flattened();
    let (types_bytes, strings_bytes) = (types.len() as u32, strings.len() as u32);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + types.len() + strings.len());
    bytes.extend(MAGIC.to_ne_bytes());
    // Version 1, no flags. Then the length of the header, and where the sections are behind it.
    bytes.extend([1, 0]);
    for word in [HEADER_BYTES as u32, 0, types_bytes, types_bytes, strings_bytes] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(types);
    bytes.extend(strings);
    bytes
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    let word = bytes.get(at..at + 4).context("kernel BTF is cut short")?;
    Ok(u32::from_ne_bytes(word.try_into()?))
}
