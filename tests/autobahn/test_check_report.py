"""That the check of the reports can fail. Run: python3 -m unittest discover tests/autobahn"""

import unittest

from check_report import check


def report(*behaviors):
    cases = {
        f"1.1.{n}": {"behavior": behavior, "behaviorClose": close}
        for n, (behavior, close) in enumerate(behaviors, 1)
    }
    return {"sockeye": cases}


class CheckReport(unittest.TestCase):
    def test_passes_what_is_ok_or_informational(self):
        good = report(("OK", "OK"), ("INFORMATIONAL", "INFORMATIONAL"), ("OK", "INFORMATIONAL"))
        self.assertEqual(check(good, 3), (3, 1, []))

    def test_fails_anything_else(self):
        for bad in ["NON-STRICT", "FAILED", "UNIMPLEMENTED", "WRONG CODE", "UNCLEAN", None]:
            self.assertEqual(len(check(report((bad, "OK")))[2]), 1, bad)
            self.assertEqual(len(check(report(("OK", bad)))[2]), 1, bad)

    def test_fails_missing_cases(self):
        self.assertEqual(len(check(report(("OK", "OK")), 2)[2]), 1)
        self.assertEqual(len(check({})[2]), 1)
        self.assertEqual(len(check({"sockeye": {}})[2]), 1)


if __name__ == "__main__":
    unittest.main()
