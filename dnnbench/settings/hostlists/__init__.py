"""Host lists in the forms that users have: tables, host files, inventories, ranges."""
