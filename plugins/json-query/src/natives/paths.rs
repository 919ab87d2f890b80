//! Deletion by paths. By definition (`getpath($path) |= empty`) it would change the order of an
//! object's fields and fail at paths that are not there.

use jaq_core::native::{unary, v};
use jaq_core::{Error, Exn, ValT as _, path};
use jaq_json::{Rc, Val};
use jaq_std::ValT as _;

use super::{Native, Result, list};

pub(super) fn natives() -> Vec<Native> {
    vec![("delpaths", v(1), |cv| {
        unary(cv, |value, paths| {
            let mut paths = list(&paths)?.to_vec();
            // The last first, so that what is deleted does not move what is still to be.
            paths.sort_by(|a, b| b.cmp(a));
            paths.iter().try_fold(value, |value, path| delete(value, list(path)?))
        })
    })]
}

/// The value without what is at the path; as it was where nothing is.
fn delete(mut value: Val, path: &[Val]) -> Result<Val> {
    let Some((key, rest)) = path.split_first() else { return Ok(Val::Null) };
    match (&mut value, key) {
        (Val::Null, _) => {}
        (Val::Obj(fields), Val::TStr(_)) => {
            let fields = Rc::make_mut(fields);
            if rest.is_empty() {
                fields.shift_remove(key);
            } else if let Some(field) = fields.get_mut(key) {
                *field = delete(std::mem::take(field), rest)?;
            }
        }
        (Val::Arr(items), Val::Num(_)) => {
            let items = Rc::make_mut(items);
            let index = key.as_isize().map(|n| if n < 0 { n + items.len() as isize } else { n });
            let index = index.and_then(|n| usize::try_from(n).ok()).filter(|&n| n < items.len());
            match index {
                Some(index) if rest.is_empty() => drop(items.remove(index)),
                Some(index) => items[index] = delete(std::mem::take(&mut items[index]), rest)?,
                None => {}
            }
        }
        (Val::Arr(_), Val::Obj(_)) => {
            let part = |part: Val| {
                (!rest.is_empty()).then(|| delete(part, rest).map_err(Exn::from)).into_iter()
            };
            return value
                .map_index(key, path::Opt::Essential, part)
                .map_err(|exception| exception.get_err().unwrap_or_else(|_| Error::str("break")));
        }
        _ => return Err(Error::index(value, key.clone())),
    }
    Ok(value)
}
