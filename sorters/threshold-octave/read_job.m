function job = read_job (path)
  % Reads job.json, and refuses a contract that is not known here.
  job = jsondecode (fileread (path));
  if (! isfield (job, "contract") || job.contract != 3)
    error ("%s is not of contract 3", path);
  endif
endfunction
