-- One row: what the filters of a page can be set to in the range; every service when none is given.
SELECT
    arraySort(groupUniqArray({max_rows:UInt32})(host)) AS hosts,
    arraySort(groupUniqArray({max_rows:UInt32})(protocol)) AS protocols,
    arraySort(groupUniqArray({max_rows:UInt32})(operation)) AS operations,
    arraySort(groupUniqArray({max_rows:UInt32})(service)) AS services,
    arraySort(groupUniqArrayIf({max_rows:UInt32})(toString(role), {service:String} != '')) AS roles
FROM {stats:Identifier}
WHERE time >= toDateTime({from_s:UInt32}) AND time < toDateTime({to_s:UInt32})
  AND ({service:String} = '' OR service = {service:String})
