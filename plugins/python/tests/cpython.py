"""Runs CPython's own tests through the plugin and prints a table of what passed.

    python3 plugins/python/tests/cpython.py --ampoule target/debug/ampoule \
        --plugin target/plugins/python.wasm --tests /usr/lib/python3.11/test [MODULE …]

The tests are those of any CPython, such as Debian's package `libpython3.11-testsuite`; they lie in
the workspace, from where the plugin imports them. A module whose run meets a limit is run again
test by test, so that one test that needs more does not hide the others.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

# Test modules of what the plugin ships.
MODULES = """
    test_abc test_argparse test_array test_ast test_augassign test_base64 test_baseexception
    test_bigmem test_binascii test_binop test_bisect test_bool test_buffer test_bufio
    test_bytes test_calendar test_call test_charmapcodec test_class test_cmath test_codeccallbacks
    test_codecs test_collections test_colorsys test_compare test_complex test_configparser
    test_contains test_context test_contextlib test_contextlib_async test_copy test_copyreg
    test_coroutines test_csv test_dataclasses test_datetime test_decimal test_decorators
    test_defaultdict test_deque test_descr test_dict test_dict_version test_dictcomps test_dictviews
    test_difflib test_dynamic test_email test_enum test_enumerate test_errno test_exception_group
    test_exception_hierarchy test_exceptions test_extcall test_file test_fileio test_float
    test_flufl test_fnmatch test_format test_fractions test_frozen test_fstring test_funcattrs
    test_functools test_future test_generator_stop test_generators test_genericalias test_genericpath
    test_genexps test_getopt test_glob test_global test_graphlib test_gzip test_hash test_hashlib
    test_heapq test_hmac test_html test_htmlparser test_http_cookies test_index test_inspect test_int
    test_int_literal test_io test_ioctl test_ipaddress test_isinstance test_iter test_iterlen
    test_itertools test_json test_keyword test_keywordonlyarg test_lambda test_linecache test_list
    test_listcomps test_locale test_logging test_long test_long_future test_longexp test_lltrace
    test_marshal test_math test_memoryio test_memoryview test_metaclass test_mimetypes test_minidom
    test_module test_named_expressions test_numeric_tower test_opcodes test_operator test_optparse
    test_ordered_dict test_patma test_pathlib test_peepholer test_pickle test_pickletools test_pkgutil
    test_posixpath test_pow test_pprint test_print test_property test_pstats test_pyexpat test_queue
    test_quopri test_raise test_random test_range test_re test_reprlib test_richcmp test_sax
    test_sched test_scope test_secrets test_set test_setcomps test_shelve test_shlex test_shutil
    test_slice test_sort test_sqlite3 test_stat test_statistics test_str test_strftime test_string
    test_string_literals test_stringprep test_strptime test_strtod test_struct test_structmembers
    test_structseq test_subclassinit test_sundry test_super test_symtable test_syntax test_tarfile
    test_tempfile test_textwrap test_time test_timeit test_tokenize test_tomllib test_traceback
    test_tuple test_type_comments test_types test_typing test_ucn test_unary test_unicode_identifiers
    test_unicodedata test_unittest test_unpack test_unpack_ex test_urllib test_urlparse test_userdict
    test_userlist test_userstring test_utf8source test_uuid test_warnings test_weakref test_weakset
    test_with test_xml_dom_minicompat test_xml_etree test_xml_etree_c test_zipfile test_zlib
    test_zoneinfo test_asyncio.test_tasks test_asyncio.test_futures test_asyncio.test_queues
    test_asyncio.test_locks test_asyncio.test_taskgroups test_asyncio.test_timeouts
    test_asyncio.test_runners
""".split()

# Short, for CI.
SHORT = "test_bisect test_heapq test_textwrap test_string test_colorsys test_graphlib".split()

PROGRAM = '''
import io, unittest

def flat(suite):
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from flat(one)
        else:
            yield one

class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed, self.bad = 0, []
    def addSuccess(self, test):
        self.passed += 1
    def addExpectedFailure(self, test, error):
        self.passed += 1
    def note(self, test, error):
        text = f"{error[0].__name__}: {error[1]}"
        self.bad.append([test.id(), " ".join(text.split())[:300]])
    def addFailure(self, test, error):
        self.note(test, error)
    def addError(self, test, error):
        self.note(test, error)
    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.note(test, error)

suite = unittest.defaultTestLoader.loadTestsFromName(name)
tests = list(flat(suite))
if only is not None:
    wanted = set(only)
    tests = [test for test in tests if test.id() in wanted]
answer = None
if listing:
    answer = [test.id() for test in tests]
else:
    result = Result()
    unittest.TestSuite(tests).run(result)
    answer = {"passed": result.passed, "bad": result.bad, "skipped": len(result.skipped)}
answer
'''


class Runner:
    """A host that serves the plugin over the Model Context Protocol, fresh for each call."""

    def __init__(self, options, folder):
        packages = folder / "workspace" / "packages" / "test"
        shutil.copytree(options.tests, packages, ignore=shutil.ignore_patterns("__pycache__"))
        config = folder / "ampoule.toml"
        config.write_text(
            "[bindings.python]\n"
            f"plugin = {json.dumps(str(pathlib.Path(options.plugin).resolve()))}\n"
            'settings = { packages = "packages" }\n'
            'grant.files = "read-write"\n'
            f'limits = {{ fuel = "{options.fuel}", wall-time = "10 min" }}\n'
        )
        command = [options.ampoule, "--config", config, "mcp", "--workspace", folder / "workspace"]
        self.host = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.last = 0
        client = {"name": "cpython-tests", "version": "1"}
        self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)
        self.send({"method": "notifications/initialized"})

    def send(self, message):
        self.host.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.host.stdin.flush()

    def ask(self, method, **parameters):
        self.last += 1
        self.send({"id": self.last, "method": method, "params": parameters})
        for line in self.host.stdout:
            message = json.loads(line)
            if message.get("id") == self.last:
                return message["result"]
        sys.exit("the host has ended")

    def call(self, **inputs):
        """One call: how it ended, and its result or why it has none."""
        arguments = {"code": PROGRAM, "inputs": inputs, "max_bytes": 8 << 20}
        answer = self.ask("tools/call", name="python", arguments=arguments)
        end = answer["_meta"].get("ampoule/receipt", {"end": "value"})["end"]
        if end == "value":
            return end, answer["structuredContent"]["result"]
        return end, answer["_meta"]["ampoule/error"]["message"]

    def run(self, module):
        """Passed, skipped and failed tests of a module."""
        name = f"test.{module}"
        end, answer = self.call(name=name, only=None, listing=False)
        if end == "value":
            return counted(answer)
        if end == "failed":
            return 0, 0, [[name, answer]]
        end, answer = self.call(name=name, only=None, listing=True)
        if end != "value":
            return 0, 0, [[name, f"{end}: {answer}"]]
        return self.parts(name, answer)

    def parts(self, name, tests):
        """Runs halves of the tests until what meets a limit is alone."""
        end, answer = self.call(name=name, only=tests, listing=False)
        if end == "value":
            return counted(answer)
        if len(tests) == 1:
            return 0, 0, [[tests[0], f"{end}: {answer}"]]
        middle = len(tests) // 2
        halves = self.parts(name, tests[:middle]), self.parts(name, tests[middle:])
        return tuple(first + second for first, second in zip(*halves))


def counted(result):
    return result["passed"], result["skipped"], result["bad"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ampoule", required=True, help="the command `ampoule`")
    parser.add_argument("--plugin", required=True, help="the built plugin")
    parser.add_argument("--tests", required=True, help="the folder `test` of a CPython")
    parser.add_argument("--fuel", default="100G", help="fuel for each call")
    parser.add_argument("--failures", help="a file for the failures, as JSON lines")
    parser.add_argument("--short", action="store_true", help="the few modules that CI runs")
    parser.add_argument("modules", nargs="*", help="all where none is named")
    options = parser.parse_args()
    modules = options.modules or (SHORT if options.short else MODULES)
    failures = open(options.failures, "w") if options.failures else None
    total = [0, 0, 0]
    print(f"{'module':34} {'passed':>7} {'failed':>7} {'skipped':>7} {'seconds':>8}")
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(options, pathlib.Path(folder))
        for module in modules:
            if not any(pathlib.Path(options.tests).glob(module.replace(".", "/") + "*")):
                continue
            start = time.monotonic()
            passed, skipped, bad = runner.run(module)
            seconds = time.monotonic() - start
            print(
                f"{module:34} {passed:7} {len(bad):7} {skipped:7} {seconds:8.1f}", flush=True
            )
            for index, count in enumerate((passed, len(bad), skipped)):
                total[index] += count
            if failures:
                for test, reason in bad:
                    print(json.dumps({"test": test, "reason": reason}), file=failures, flush=True)
    print(f"{'all':34} {total[0]:7} {total[1]:7} {total[2]:7}")
    sys.exit(total[1] > 0)


if __name__ == "__main__":
    main()
