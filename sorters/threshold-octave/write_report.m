function write_report (path, opened)
  % Writes what the run took, what is installed, under which settings it ran and which sample files it opened.
  pinned = {"GLIBC_TUNABLES", "LC_ALL", "TZ", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS"};
  environment = struct ();
  for name = pinned
    environment.(name{1}) = getenv (name{1});
  endfor
  peak = regexp (fileread ("/proc/self/status"), 'VmHWM:\s+(\d+)', "tokens"){1}{1};
  said = struct ("cpu_s", cputime (), "environment", environment);
  % Octave's JSON writes large whole numbers as fractions; packages have names that no field of Octave's can have.
  packages = strtrim (fileread ("/opt/sorter/packages.json"));
  file = fopen (path, "w");
  bytes = 1024 * str2double (peak);
  fprintf (file, "%s, \"peak_memory_bytes\": %d, \"packages\": %s", jsonencode (said)(1:end - 1), bytes, packages);
  files = strjoin (arrayfun (@(file) sprintf ("{\"inode\": %d, \"size\": %d}", file.inode, file.size), opened,
                             "UniformOutput", false), ", ");
  fprintf (file, ", \"opened\": {\"recording\": [%s]}}\n", files);
  if (fclose (file) != 0)
    error ("%s cannot be written", path);
  endif
endfunction
