function job = read_job (path)
  % Reads job.json, and refuses a contract that is not known here.
  job = jsondecode (fileread (path));
  if (! isfield (job, "contract") || job.contract != 2)
    error ("%s is not of contract 2", path);
  endif
endfunction
