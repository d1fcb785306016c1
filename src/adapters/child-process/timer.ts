const longest = 2 ** 31 - 1;

/** `setTimeout` for delays of any length (it takes at most 24.8 days by itself); returns what cancels it. */
export const later = (delay: number, callback: () => void): (() => void) => {
  let timer: NodeJS.Timeout;
  const arm = (left: number): void => {
    timer = setTimeout(() => (left > longest ? arm(left - longest) : callback()), Math.min(left, longest));
  };
  arm(delay);
  return () => clearTimeout(timer);
};
