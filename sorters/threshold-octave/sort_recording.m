function [times, labels, channels] = sort_recording (recording, told)
  % Sorts: filter, threshold, clips, principal components, k-means, and the merging of what has no valley between.
  frequency = recording.sampling_frequency;
  if (told.freq_max >= frequency / 2)
    printf ("freq_max is not below half the sampling frequency: the filter is a high-pass\n");
  endif
  noise = estimate_noise (recording, told);
  printf ("noise of the channels: %.3g to %.3g uV\n", min (noise), max (noise));
  fflush (stdout);
  is_near = near_channels (recording.locations, told.radius);
  neighbours = arrayfun (@(at) find (is_near(at, :)), 1:recording.num_channels, "UniformOutput", false);
  before = max (4, round (told.clip_before * frequency / 1000));
  after = max (4, round (told.clip_after * frequency / 1000));
  [times, channels, clips] = find_events (recording, told, noise, is_near, neighbours, before, after);
  printf ("%d events\n", numel (times));
  fflush (stdout);

  labels = zeros (numel (times), 1);
  members = {};
  of_units = [];
  for channel = 1:recording.num_channels
    mine = find (channels == channel);
    if (numel (mine) < told.min_events)
      continue;
    endif
    shapes = cat (3, clips{mine});
    shapes = double (reshape (shapes, [], numel (mine))');
    features = principal_components (shapes, told.num_features);
    state = mod (told.seed, 2147483646) + 1;
    count = min (told.max_clusters, ceil (numel (mine) / told.min_events));
    found = merge_clusters (features, k_means (features, count, state), told.valley);
    for at = 1:max (found)
      of_one = mine(found == at);
      if (numel (of_one) < told.min_events)
        continue;
      endif
      members{end + 1} = of_one;
      of_units(end + 1) = channel;
      labels(of_one) = numel (members);
    endfor
    printf ("channel %d: %d events, %d units\n", channel, numel (mine), sum (of_units == channel));
    fflush (stdout);
  endfor

  labels = join_units (labels, of_units, members, clips, neighbours, told);
  kept = labels > 0;
  printf ("%d events are of clusters of fewer than %d and are left out\n", sum (! kept), told.min_events);
  times = times(kept);
  channels = channels(kept);
  [~, ~, labels] = unique (labels(kept));
  printf ("%d units, %d events\n", numel (unique (labels)), numel (times));
endfunction

function is_near = near_channels (locations, radius)
  % Says which channels are within the radius of which; every channel is near itself.
  count = rows (locations);
  is_near = false (count);
  for at = 1:count
    is_near(at, :) = sqrt (sumsq (locations - locations(at, :), 2))' <= radius;
  endfor
endfunction

function [times, channels, clips] = find_events (recording, told, noise, is_near, neighbours, before, after)
  % Reads the recording block by block, and gives its events in order of time: times from 0, and their clips.
  interval = round (told.detect_interval * recording.sampling_frequency / 1000);
  margin = max (before, after) + interval + 1;
  length = max (4096, round (4e6 / recording.num_channels));
  times = channels = [];
  clips = {};
  for start = 0:length:recording.num_samples - 1
    stop = min (recording.num_samples, start + length);
    traces = filtered_block (recording, told, start, stop, margin);
    % Peaks a little outside, too: one of theirs may be higher.
    [at, on, heights] = find_peaks (traces, noise, told, margin - interval);
    [at, order] = sort (at);
    on = on(order);
    kept = keep_highest (at, on, heights(order), is_near, interval);
    at += start - interval - 1;
    kept &= at >= start & at < stop;
    at = at(kept);
    on = on(kept);
    found = cell (numel (at), 1);
    for event = 1:numel (at)
      middle = at(event) - start + margin + 1;
      found{event} = single (traces(middle - before:middle + after, neighbours{on(event)}));
    endfor
    times = [times; at];
    channels = [channels; on];
    clips = [clips; found];
    printf ("%.0f of %.0f s\n", [stop, recording.num_samples] / recording.sampling_frequency);
    fflush (stdout);
  endfor
endfunction
