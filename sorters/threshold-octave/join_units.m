function labels = join_units (labels, channels, members, clips, neighbours, told)
  % Joins units of channels near each other that are one neuron: its highest channel is not the same in every spike.
  %
  % Of unit k, `members{k}` are the events, all of channel `channels(k)`. Two units are one where their events have no valley
  % between them on the channels that both have, at the small shift in time that brings them nearest.
  shifts = -3:3;
  joined = 1:numel (members);
  for first = 1:numel (members)
    for second = first + 1:numel (members)
      both = [channels(first), channels(second)];
      [shared, one, other] = intersect (neighbours{both(1)}, neighbours{both(2)});
      if (both(1) == both(2) || ! all (ismember (both, shared)))
        continue;
      endif
      a = double (cat (3, clips{members{first}})(:, one, :));
      b = double (cat (3, clips{members{second}})(:, other, :));
      inner = 4:rows (a) - 3;
      differs = arrayfun (@(by) sumsq ((mean (a(inner, :, :), 3) - mean (b(inner + by, :, :), 3))(:)), shifts);
      [~, best] = min (differs);
      a = reshape (a(inner, :, :), [], size (a, 3))';
      b = reshape (b(inner + shifts(best), :, :), [], size (b, 3))';
      features = principal_components ([a; b], told.num_features);
      if (valley_between (features(1:rows (a), :), features(rows (a) + 1:end, :)) >= told.valley)
        joined(joined == joined(second)) = joined(first);
      endif
    endfor
  endfor
  labels(labels > 0) = joined(labels(labels > 0));
endfunction
