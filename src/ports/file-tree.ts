/** What a walk comes upon: a file with its content, or something that could not be read. */
export type TreeEntry =
  | { readonly kind: 'file'; readonly path: string; readonly bytes: Uint8Array }
  | { readonly kind: 'failed'; readonly path: string; readonly reason: string };

/** What a walk looks at. */
export interface TreeWalk {
  /** Asked with the path as it will be told; files that are not wanted are never opened, by a link neither. */
  wanted(path: string): boolean;
  /** Larger files are passed over. */
  readonly maxBytes: number;
  /** Ends the walk before the next entry. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Directories with everything below them.
 *
 * Contract: paths begin with the directory as it was given; one that is a link itself is followed. Below it only links to regular files
 * within one of the directories are followed, if what they lead to is wanted by its own path; all others are passed over in silence, and
 * so is a directory that a link has taken the place of during the walk; a directory is visited once. What cannot be read is
 * told, and the walk goes on; `reason` is a line that names the path. A name that is not UTF-8 cannot be read: its bytes from 0x80 on
 * are told as `\xff`, if it is a directory's or wanted so. Neither a pipe nor a device is ever opened.
 */
export interface FileTree {
  /** Everything that is wanted below the directories, one after the other. */
  walk(directories: readonly string[], options: TreeWalk): AsyncIterable<TreeEntry>;
}
