/** The number of an account by a text like /etc/passwd or /etc/group; a number is its own. Undefined: the text does not know it. */
export function accountNumber(database: string, account: string): number | undefined {
  if (/^\d+$/.test(account)) return Number(account);
  const lines = database.split('\n').map((line) => line.split(':'));
  const id = lines.find(([name]) => name === account)?.[2];
  return id !== undefined && /^\d+$/.test(id) ? Number(id) : undefined;
}
