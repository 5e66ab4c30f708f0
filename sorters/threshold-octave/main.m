% The container contract in Octave: reads the job, sorts, writes /out/firings.mda and /out/run.json.
%
% Exit codes: 0 done, 1 the sorter raised, 3 job.json or the recording is not valid.
1;

try
  job = read_job ("/job/job.json");
  recording = open_recording ("/inputs/recording", job.inputs.recording.layout);
catch problem
  fprintf (stderr, "%s\n", problem.message);
  exit (3);
end_try_catch

try
  told = settings (job.parameters, job.seed);
  printf ("settings: %s\n", jsonencode (told));
  fflush (stdout);
  [times, labels, channels] = sort_recording (recording, told);
  write_firings ("/out/firings.mda", times, labels, channels);
  write_report ("/out/run.json", recording.opened);
catch problem
  fprintf (stderr, "%s\n", problem.message);
  for frame = problem.stack'
    fprintf (stderr, "  in %s, line %d\n", frame.name, frame.line);
  endfor
  exit (1);
end_try_catch
