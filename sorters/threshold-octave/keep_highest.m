function kept = keep_highest (times, channels, heights, is_near, interval)
  % Says which events have none higher within the interval on a channel nearby; of equal ones the first stays.
  % The events are in order of time.
  count = numel (times);
  kept = true (count, 1);
  for lag = 1:count - 1
    first = 1:count - lag;
    second = first + lag;
    close = times(second) - times(first) <= interval;
    if (! any (close))
      break;
    endif
    first = first(close);
    second = second(close);
    near = is_near(sub2ind (size (is_near), channels(first), channels(second)));
    first = first(near);
    second = second(near);
    loses = heights(second) > heights(first);
    kept(first(loses)) = false;
    kept(second(! loses)) = false;
  endfor
endfunction
