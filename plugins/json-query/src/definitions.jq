# Definitions of jq that the library of jaq lacks or has otherwise.

# Ends
def halt_error: error;
def halt_error($exit_code): error;

# Paths
def setpath($path; $value):
  def fit($key):
    if . != null then . elif $key | type == "string" then {} else [] end
    | if type == "array" and ($key | type == "number") and $key >= length
      then . + [range(length; $key + 1) | null] else . end;
  if $path == [] then $value
  else $path[0] as $key | fit($key) | .[$key] |= setpath($path[1:]; $value) end;
def del(f): delpaths([path(f)]);
def pick(f): . as $top | reduce path(f) as $path (null; setpath($path; $top | getpath($path)));
def leaf_paths: paths(scalars);

# Arrays and objects
def from_entries:
  def name: if has("key") then .key elif has("k") then .k elif has("name") then .name
    elif has("Name") then .Name elif has("Key") then .Key elif has("K") then .K else null end
    | if type == "string" then . elif . == null then "null" else tojson end;
  def content: if has("value") then .value elif has("v") then .v
    elif has("Value") then .Value elif has("V") then .V else null end;
  reduce .[] as $entry ({}; . + ($entry | { (name): content }));
def with_entries(f): to_entries | map(f) | from_entries;
def toarray: if type == "array" then . else [.] end;
def isvalid(f): try (f | true) catch false;
def reverse_array: reverse;
def reverse:
  if type == "string" then explode | reverse_array | implode
  elif . == null then [] else reverse_array end;

# SQL
def INDEX(stream; index): reduce stream as $row ({}; .[$row | index | tostring] |= $row);
def INDEX(index): INDEX(.[]; index);
def IN(stream): any(stream == .; .);
def IN(source; stream): any(source == stream; .);
def JOIN($index; index): [.[] | [., $index[index]]];
def JOIN($index; stream; index): stream | [., $index[index]];
def JOIN($index; stream; index; join): stream | [., $index[index]] | join;

# Streams
def tostream:
  path(def rec: (.[]? | rec), .; rec) as $path
  | getpath($path)
  | reduce path(.[]?) as $inner ([$path, .]; [$path + $inner]);
def fromstream(stream):
  { x: null, e: false } as $start
  | foreach stream as $event ($start;
      if .e then $start end
      | if ($event | length) == 2
        then setpath(["e"]; $event[0] | length == 0) | setpath(["x"] + $event[0]; $event[1])
        else setpath(["e"]; $event[0] | length == 1) end;
      if .e then .x else empty end);
def truncate_stream(stream):
  . as $depth | null | stream | . as $event
  | if (.[0] | length) > $depth then setpath([0]; .[0][$depth:]) else empty end;
def truncate_stream($depth; stream): $depth | truncate_stream(stream);

# Text
def ascii: [.] | implode;
def without_prefix($text): ltrimstr($text);
def without_suffix($text): rtrimstr($text);
def ltrimstr($text):
  if type == "string" and ($text | type) == "string" then without_prefix($text) else . end;
def rtrimstr($text):
  if type == "string" and ($text | type) == "string" then without_suffix($text) else . end;
def trimstr($text): ltrimstr($text) | rtrimstr($text);
def split($separator):
  if type == "string" and ($separator | type) == "string" then . / $separator
  else error("split input and separator must be strings") end;

# Regular expressions
def test($re; $flags): regex_test($re; $flags);
def test($val): if ($val | type) == "array" then test($val[0]; $val[1]) else test($val; null) end;
def match($re; $flags): regex_matches($re; $flags)[];
def match($val): if ($val | type) == "array" then match($val[0]; $val[1]) else match($val; null) end;
def capture($re; $flags):
  match($re; $flags) | [.captures[] | select(.name != null) | { (.name): .string }] | add + {};
def capture($val):
  if ($val | type) == "array" then capture($val[0]; $val[1]) else capture($val; null) end;
def scan($re; $flags):
  match($re; "g" + $flags) | if .captures == [] then .string else [.captures[].string] end;
def scan($val): if ($val | type) == "array" then scan($val[0]; $val[1]) else scan($val; null) end;
def split($re; $flags): [regex_pieces($re; "g" + $flags)[] | strings];
def splits($re; $flags): split($re; $flags)[];
def splits($re): splits($re; null);
def sub($re; f; $flags):
  reduce regex_pieces($re; $flags)[] as $piece ("";
    . + ($piece | if type == "object" then f else . end));
def sub($re; f): sub($re; f; null);
def gsub($re; f; $flags): sub($re; f; "g" + $flags);
def gsub($re; f): sub($re; f; "g");

# Dates
def date: todate;
def dateadd(unit; $n): . + $n;
def datesub(unit; $n): . - $n;

# Formats
def @csv:
  [.[] | if type == "number" then tojson elif type == "boolean" then tojson elif . == null then ""
    elif type == "string" then "\"" + (split("\"") | join("\"\"")) + "\""
    else error("\(type) (\(tojson)) is not valid in a csv row") end]
  | join(",");
def @tsv:
  def escape: split("\\") | join("\\\\") | split("\t") | join("\\t")
    | split("\n") | join("\\n") | split("\r") | join("\\r");
  [.[] | if type == "number" then tojson elif type == "boolean" then tojson elif . == null then ""
    elif type == "string" then escape
    else error("\(type) (\(tojson)) cannot be tsv-formatted") end]
  | join("\t");
def @sh:
  [if type == "array" then .[] else . end
    | if type == "string" then "'\(escape_sh)'"
      elif type == "array" or type == "object" then error("\(type) (\(tojson)) can not be escaped for shell")
      else tojson end]
  | join(" ");
def @base32: tostring | encode_base32;
def @base32d: tostring | decode_base32;
def format($name):
  if $name == "text" then @text elif $name == "json" then @json elif $name == "csv" then @csv
  elif $name == "tsv" then @tsv elif $name == "html" then @html elif $name == "uri" then @uri
  elif $name == "urid" then @urid elif $name == "sh" then @sh elif $name == "base64" then @base64
  elif $name == "base64d" then @base64d elif $name == "base32" then @base32
  elif $name == "base32d" then @base32d else error("\($name) is not a valid format") end;
