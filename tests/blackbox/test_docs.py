# SPDX-License-Identifier: Apache-2.0
"""What docs/ says of verbs and codes is what the program says."""
import os
import subprocess
import unittest

import hs


class Docs(unittest.TestCase):
    maxDiff = None

    def test_verbs(self):
        said = subprocess.run([hs.BINARY, 'verbs'], capture_output=True, text=True, check=True).stdout
        with open(os.path.join(hs.ROOT, 'docs', 'verbs.md'), encoding='utf-8') as f:
            self.assertEqual(f.read(), said, 'docs/verbs.md is old: hookswitch verbs > docs/verbs.md')
        self.assertIn('### Gather', said)


if __name__ == '__main__':
    unittest.main()
