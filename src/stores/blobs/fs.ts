import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rmdir, unlink } from 'node:fs/promises';

/**
 * The file system as the disk store needs it. A simulation has its own, which tears unsynced bytes, forgets unsynced names,
 * or fails. Rejections carry Node's `code` (`ENOENT`, `ENOSPC`, `EIO` ...).
 */
export interface BlobFs {
  /** Makes a directory for the owner only. It may be there already. */
  mkdir(dir: string): Promise<void>;
  readdir(dir: string): Promise<string[]>;
  /** Makes an empty file for the owner only, open for `append`. */
  create(path: string): Promise<BlobFile>;
  /** Opens an existing file for `read`. */
  open(path: string): Promise<BlobFile>;
  /** Looks at the name itself; a link is not followed. */
  stat(path: string): Promise<BlobStat>;
  /** Replaces what is at `to`. */
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Fails when the directory is not empty. */
  rmdir(dir: string): Promise<void>;
  /** Makes the names in `dir` survive a power cut. */
  fsyncDir(dir: string): Promise<void>;
}

export interface BlobStat {
  /** Whether it is a regular file: no directory, link, pipe or device. */
  readonly isFile: boolean;
  readonly bytes: number;
  /** Changes when the file is written to or replaced. */
  readonly version: string;
}

export interface BlobFile {
  /** Writes all of `bytes`. The caller must not change them until then. */
  append(bytes: Uint8Array): Promise<void>;
  fsync(): Promise<void>;
  /** Fills `into` from `position`; returns how many bytes there were, 0 at the end. */
  read(into: Uint8Array, position: number): Promise<number>;
  close(): Promise<void>;
}

export const nodeBlobFs: BlobFs = {
  async mkdir(dir) {
    await mkdir(dir, { recursive: true, mode: 0o700 });
  },
  readdir: (dir) => readdir(dir),
  create: (path) => openFile(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY),
  // Without NONBLOCK, opening a pipe that somebody has put there would wait for a writer.
  open: (path) => openFile(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK),
  async stat(path) {
    const { dev, ino, size, mtimeNs, ctimeNs, ...stats } = await lstat(path, { bigint: true });
    return {
      isFile: (stats.mode & FILE_TYPE) === REGULAR,
      bytes: Number(size),
      version: [dev, ino, size, mtimeNs, ctimeNs].join(':'),
    };
  },
  rename,
  unlink,
  rmdir,
  async fsyncDir(dir) {
    const handle = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
};

const FILE_TYPE = BigInt(constants.S_IFMT);
const REGULAR = BigInt(constants.S_IFREG);

async function openFile(path: string, flags: number): Promise<BlobFile> {
  const handle = await open(path, flags, 0o600);
  return {
    async append(bytes) {
      for (let done = 0; done < bytes.byteLength;) {
        done += (await handle.write(bytes, done, bytes.byteLength - done)).bytesWritten;
      }
    },
    fsync: () => handle.sync(),
    async read(into, position) {
      let done = 0;
      while (done < into.byteLength) {
        const { bytesRead } = await handle.read(into, done, into.byteLength - done, position + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return done;
    },
    close: () => handle.close(),
  };
}
